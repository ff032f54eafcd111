// The policy: what can be changed about it, and when a change is refused. How a change comes into
// force is in changes.ts.
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { RULES_MAX } from '../../base/limits.ts';
import { parseHttpMatch } from '../../policy/http.ts';
import type { Governance, Semantics } from '../../policy/precedence.ts';
import { isPreset, PRESET_NAMES, type PresetName, presetRules } from '../../policy/presets.ts';
import { parseResources } from '../../policy/resource.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import { protocolsOf, type RuleFacts, ruleFacts } from '../../policy/rule-facts.ts';
import type { Store, StoredRule } from '../store.ts';
import { Changes, type PolicyPublisher } from './changes.ts';
import type { Draft } from './draft.ts';
import type { StoredPathRule } from './path-rule-store.ts';
import {
  type GivenPathRule,
  PathRules,
  rulesAfter,
  takenOver,
  withDefaults,
} from './path-rules.ts';
import { type Change, type Plan, planOf, type Wanted } from './plan.ts';
import { checkRemovable, inScope, type Removal, selected, takeOut, whole } from './removal.ts';
import { checkConflicts, initializedAs, type NewRule, uninitialized } from './rule-input.ts';

/** Sandboxes by name, as sandboxes.ts knows them. */
export type ScopeNames = {
  /** @throws SALLYPORT_NOT_FOUND */
  numberOf(name: string): number;
  nameOf(number: number): string | undefined;
};

/** A rule of an organisation, or of a sandbox's kit, as it is taken over whole. */
export type GivenRule = Pick<StoredRule, 'id' | 'name' | 'decision' | 'resources' | 'protocols'> &
  Partial<Pick<StoredRule, 'http' | 'policy' | 'awaits'>>;

/** Which rules to remove, within one scope. */
export type Selector = {
  /** With or without `local:` before it. */
  readonly id?: string | undefined;
  /** A comma list; each element is taken out of every rule that has it. */
  readonly resources?: readonly string[] | undefined;
  readonly sandbox?: string | undefined;
  /** With resources: HTTP rules for exactly these, in place of rules for all that goes there. */
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
};

export class PolicyService<Prepared = unknown> {
  /** Filesystem rules. */
  readonly paths: PathRules;
  readonly #changes: Changes<Prepared>;
  readonly #scopes: ScopeNames;
  readonly #clock: Clock;
  #position: number;

  private constructor(
    store: Store,
    publisher: PolicyPublisher<Prepared>,
    scopes: ScopeNames,
    clock: Clock,
  ) {
    this.#changes = new Changes(store, publisher);
    this.#scopes = scopes;
    this.#clock = clock;
    this.paths = new PathRules(this.#changes, (sandbox) => this.#scopeOf(sandbox), clock);
    this.#position = store.nextPosition();
  }

  /** Loads the stored policy and puts it in force. @throws what loading and publishing throw */
  static async start<Prepared>(
    store: Store,
    publisher: PolicyPublisher<Prepared>,
    scopes: ScopeNames,
    clock: Clock,
  ): Promise<PolicyService<Prepared>> {
    store.removeEnded(clock.wallMs()); // Before anything is in force.
    const service = new PolicyService(store, publisher, scopes, clock);
    await service.#changes.start();
    return service;
  }

  /** The preset that was chosen, or null before that. */
  get preset(): string | null {
    return this.#changes.current.preset;
  }

  /** The organisation that governs, or null. */
  get governance(): Governance | null {
    return this.#changes.current.governance;
  }

  get semantics(): Semantics {
    return this.#changes.current.semantics;
  }

  /** All rules, in order of creation; which of them count, policy/precedence.ts says. */
  get rules(): readonly StoredRule[] {
    return this.#changes.current.rules;
  }

  get pathRules(): readonly StoredPathRule[] {
    return this.paths.all;
  }

  get generation(): number {
    return this.#changes.generation;
  }

  /**
   * Adds rules, all or none.
   *
   * @returns when all workers enforce them.
   * @throws SALLYPORT_POLICY_INVALID, SALLYPORT_POLICY_UNINITIALIZED, SALLYPORT_POLICY_TOO_LARGE,
   *   SALLYPORT_NOT_FOUND for a sandbox, SALLYPORT_PUBLISH_TIMEOUT
   */
  async add(wanted: readonly NewRule[]): Promise<StoredRule[]> {
    const parsed = wanted.map((rule) => ({ rule, facts: ruleFacts(rule) }));
    let added: StoredRule[] = [];
    await this.#changes.enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      checkCount(draft.count + parsed.length);
      added = parsed.map(({ rule, facts }) => this.#ruleOf(rule, facts));
      if (draft.semantics.conflicts === 'refuse') {
        checkConflicts(
          added,
          draft.select(({ source }) => source === 'local'),
        );
      }
      for (const rule of added) draft.put(rule);
    });
    return added;
  }

  /**
   * Makes the policy what somebody wants, or adds that to it; all or nothing.
   *
   * @param dryRun  only look what would be done.
   * @throws what planOf throws, SALLYPORT_POLICY_TOO_LARGE, SALLYPORT_PUBLISH_TIMEOUT
   */
  async apply(wanted: Wanted, dryRun: boolean): Promise<Plan> {
    const planned: Plan[] = [];
    await this.#changes.enqueue((draft) => {
      const plan = planOf(draft, wanted, this.#scopes);
      const removed = plan.changes.filter(({ op }) => op === 'remove').length;
      const added = plan.changes.filter(({ op }) => op === 'add').length;
      checkCount(draft.count + added - removed);
      const paths = rulesAfter(draft, plan.paths, this.#clock.wallMs());
      if (!dryRun) this.#carryOut(draft, plan, paths);
      planned.push(plan);
    });
    return planned.at(-1) as Plan;
  }

  /**
   * Removes a rule by its id, or resources from the rules of a scope. A rule that has none left goes.
   *
   * @throws SALLYPORT_USAGE without a selector, SALLYPORT_NOT_FOUND when it selects nothing; nothing
   *   is removed if one of several resources is not found.
   */
  async remove(selector: Selector): Promise<Removal[]> {
    const { id, resources } = selector;
    const texts =
      resources === undefined ? null : parseResources(resources.join(',')).map(({ text }) => text);
    if (id === undefined && texts === null) {
      throw new SallyportError(
        'SALLYPORT_USAGE',
        'at least one selector is required: use --id or --resource',
      );
    }
    const { methods = [], paths = [] } = selector;
    const http = methods.length + paths.length === 0 ? null : parseHttpMatch(methods, paths);
    if (http !== null && texts === null) {
      throw new SallyportError('SALLYPORT_USAGE', 'methods select among rules for a resource');
    }
    let removed: Removal[] = [];
    await this.#changes.enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      const scope = this.#scopeOf(selector.sandbox);
      const byId = id === undefined ? null : [this.#byId(draft, id, selector.sandbox)];
      removed =
        texts === null
          ? whole(byId ?? [])
          : selected(byId ?? draft.select(inScope(scope, http)), texts, draft.semantics);
      checkRemovable(removed, draft.semantics);
      for (const removal of removed) takeOut(draft, removal);
    });
    return removed;
  }

  /**
   * Chooses the preset, once.
   *
   * @throws SALLYPORT_CONFLICT when one was chosen before.
   */
  async initialize(preset: string): Promise<void> {
    if (!isPreset(preset)) {
      const names = PRESET_NAMES.join(', ');
      throw new SallyportError('SALLYPORT_USAGE', `unknown preset "${preset}"; there are ${names}`);
    }
    await this.#changes.enqueue((draft) => {
      if (draft.preset !== null) throw initializedAs(draft.preset);
      this.#install(draft, preset);
    });
  }

  /**
   * Takes over what an organisation says, in place of what it said before.
   *
   * @param governance  null: no organisation governs any more, and its rules go.
   * @throws SALLYPORT_POLICY_TOO_LARGE
   */
  async govern(
    governance: Governance | null,
    rules: readonly GivenRule[] = [],
    pathRules: readonly GivenPathRule[] = [],
  ): Promise<void> {
    await this.#changes.enqueue((draft) => {
      const paths = takenOver(draft, pathRules, this.#clock.wallMs());
      this.#replace(draft, ({ source }) => source === 'remote', rules, {
        source: 'remote',
        scope: GLOBAL_SCOPE,
        createdVia: 'provisioned',
      });
      draft.pathRules = paths;
      draft.governance = governance;
    });
  }

  /** Says whether the organisation's word can be had; its rules stay. */
  async setAvailable(available: boolean): Promise<void> {
    if ((this.governance?.available ?? available) === available) return;
    await this.#changes[available ? 'enqueue' : 'end']((draft) => {
      if (draft.governance !== null) draft.governance = { ...draft.governance, available };
    });
  }

  /** Gives a sandbox the rules of its kit, in place of those it had. @param scope  its number */
  async provision(scope: number, rules: readonly GivenRule[]): Promise<void> {
    await this.#changes.enqueue((draft) => {
      const isOld = (rule: StoredRule): boolean => rule.source === 'kit' && rule.scope === scope;
      this.#replace(draft, isOld, rules, { source: 'kit', scope, createdVia: 'provisioned' });
    });
  }

  /** Changes how rules are taken. */
  async setSemantics(semantics: Partial<Semantics>): Promise<void> {
    await this.#changes.enqueue((draft) => {
      const wanted = { ...draft.semantics, ...semantics };
      // A change of nothing would have all rules compiled again, at each start.
      if (!isDeepStrictEqual(wanted, draft.semantics)) draft.semantics = wanted;
    });
  }

  /**
   * Removes all local rules, of the sandboxes too, and the choice of a preset: nothing is allowed
   * but what an organisation or a kit allows.
   */
  async reset(): Promise<void> {
    await this.#changes.enqueue((draft) => {
      for (const { id } of draft.select(({ source }) => source === 'local')) draft.remove(id);
      draft.pathRules = draft.pathRules.filter(({ source }) => source !== 'local');
      draft.preset = null;
    });
  }

  /** Removes rules that have ended, as far as they are still there. */
  async end(ids: readonly string[]): Promise<void> {
    await this.#changes.end((draft) => {
      for (const id of ids) if (draft.get(id) !== undefined) draft.remove(id);
    });
  }

  /** Removes all rules of one sandbox, which no worker knows any more. @throws when they are all there */
  async dropScope(number: number): Promise<void> {
    const isTheirs = ({ scope }: { readonly scope: number }): boolean => scope === number;
    try {
      await this.#changes.enqueue((draft) => {
        for (const { id } of draft.select(isTheirs)) draft.remove(id);
        draft.pathRules = draft.pathRules.filter((rule) => !isTheirs(rule));
      });
    } catch (error) {
      // They may be gone but in one stuck lane; it asks for that scope no more.
      if (this.rules.some(isTheirs) || this.pathRules.some(isTheirs)) throw error;
    }
  }

  /** @returns when no change is under way. */
  settled(): Promise<void> {
    return this.#changes.settled();
  }

  #replace(
    draft: Draft,
    isOld: (rule: StoredRule) => boolean,
    rules: readonly GivenRule[],
    common: Pick<StoredRule, 'source' | 'scope' | 'createdVia'>,
  ): void {
    const old = draft.select(isOld);
    checkCount(draft.count - old.length + rules.length);
    for (const { id } of old) draft.remove(id);
    const createdAtMs = this.#clock.wallMs();
    for (const rule of rules) {
      draft.put({ ...rule, ...common, position: this.#position++, createdAtMs });
    }
  }

  #carryOut(draft: Draft, { preset, changes }: Plan, paths: Draft['pathRules']): void {
    if (draft.pathRules !== paths) draft.pathRules = paths;
    if (draft.preset !== preset) draft.preset = preset;
    for (const change of changes) {
      if (change.op === 'remove') draft.remove(change.rule.id);
      else draft.put(this.#planned(change));
    }
  }

  /** A changed rule stays where it is in the list. */
  #planned(change: Exclude<Change, { op: 'remove' }>): StoredRule {
    const { isPreset, at, id: given, ...facts } = change.rule;
    const id = given ?? randomUUID();
    const before = change.op === 'change' ? change.before : null;
    return {
      ...facts,
      id,
      name: id,
      source: 'local',
      position: before?.position ?? this.#position++,
      createdVia: before?.createdVia ?? (isPreset ? 'default' : 'added'),
      createdAtMs: before?.createdAtMs ?? this.#clock.wallMs(),
    };
  }

  #install(draft: Draft, preset: PresetName): void {
    const paths = withDefaults(draft, this.#clock.wallMs());
    for (const { id, decision, resources } of presetRules(preset)) {
      draft.put({
        position: this.#position++,
        id,
        name: id,
        source: 'local',
        decision,
        scope: GLOBAL_SCOPE,
        protocols: protocolsOf(decision),
        resources,
        createdVia: 'default',
        createdAtMs: this.#clock.wallMs(),
      });
    }
    draft.pathRules = paths;
    draft.preset = preset;
  }

  #ruleOf({ decision, sandbox, approved }: NewRule, facts: RuleFacts): StoredRule {
    const id = randomUUID();
    const expiresAtMs = approved?.expiresAtMs ?? null;
    return {
      position: this.#position++,
      id,
      name: id,
      source: 'local',
      decision,
      scope: this.#scopeOf(sandbox),
      createdVia: approved === undefined ? 'added' : 'approval',
      createdAtMs: this.#clock.wallMs(),
      ...(expiresAtMs !== null && { expiresAtMs }),
      ...facts,
    };
  }

  #scopeOf(sandbox: string | undefined): number {
    return sandbox === undefined ? GLOBAL_SCOPE : this.#scopes.numberOf(sandbox);
  }

  /** An id is unique among all scopes; naming a scope as well must agree. */
  #byId(draft: Draft, id: string, sandbox: string | undefined): StoredRule {
    const rule = draft.get(id.replace(/^local:/, ''));
    const elsewhere = sandbox !== undefined && rule?.scope !== this.#scopes.numberOf(sandbox);
    if (rule !== undefined && !elsewhere) return rule;
    const where = sandbox === undefined ? '' : ` in sandbox "${sandbox}"`;
    throw new SallyportError('SALLYPORT_NOT_FOUND', `rule "${id}" not found${where}`);
  }
}

/** @throws SALLYPORT_POLICY_TOO_LARGE */
function checkCount(count: number): void {
  if (count <= RULES_MAX) return;
  throw new SallyportError(
    'SALLYPORT_POLICY_TOO_LARGE',
    `the policy would have ${count} rules; at most ${RULES_MAX} are possible`,
  );
}
