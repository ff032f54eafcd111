// The policy: every change of a rule passes through here, one batch after another. A change is
// compiled, written to the disk, put in force in all workers, and only then answered.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { POLICY_CHANGES_WAITING_MAX, RULES_MAX } from '../base/limits.ts';
import { type HttpMatch, parseHttpMatch } from '../policy/http.ts';
import { isPreset, PRESET_NAMES, type PresetName, presetRules } from '../policy/presets.ts';
import { checkForDecision, parseResources, type Resource } from '../policy/resource.ts';
import { type Decision, GLOBAL_SCOPE, type Protocol, type Rule } from '../policy/rule.ts';
import { Draft, type RuleSet } from './draft.ts';
import { matching, type Removal, takeOut, whole } from './removal.ts';
import type { Store, StoredRule } from './store.ts';

/** What the policy needs of matcher/publish.ts. */
export type PolicyPublisher<Prepared> = {
  readonly generation: number;
  prepare(rules: readonly Rule[]): Prepared;
  commit(prepared: Prepared): Promise<unknown>;
};

/** Sandboxes by name, as sandboxes.ts knows them. */
export type ScopeNames = {
  /** @throws SALLYPORT_NOT_FOUND */
  numberOf(name: string): number;
  nameOf(number: number): string | undefined;
};

export type NewRule = {
  readonly decision: Decision;
  /** Comma lists; together the resources of one rule. */
  readonly resources: readonly string[];
  /** Absent: tcp for allow, tcp and udp for deny. */
  readonly protocols?: readonly Protocol[] | undefined;
  /** Absent: global. */
  readonly sandbox?: string | undefined;
  /** An HTTP rule: these methods, or ANY; with paths, else all of them. */
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
};

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

type Work = { apply(draft: Draft): void; readonly done: PromiseWithResolvers<void> };

export class PolicyService<Prepared = unknown> {
  readonly #store: Store;
  readonly #publisher: PolicyPublisher<Prepared>;
  readonly #scopes: ScopeNames;
  readonly #clock: Clock;
  #current: RuleSet;
  #position: number;
  #waiting: Work[] = [];
  #running: Promise<void> | null = null;

  private constructor(
    store: Store,
    publisher: PolicyPublisher<Prepared>,
    scopes: ScopeNames,
    clock: Clock,
  ) {
    this.#store = store;
    this.#publisher = publisher;
    this.#scopes = scopes;
    this.#clock = clock;
    const rules = store.rules();
    const byId = new Map(rules.map((rule) => [rule.id, rule]));
    this.#current = { rules, byId, preset: store.preset() };
    this.#position = store.nextPosition();
  }

  /** Loads the stored policy and puts it in force. @throws what loading and publishing throw */
  static async start<Prepared>(
    store: Store,
    publisher: PolicyPublisher<Prepared>,
    scopes: ScopeNames,
    clock: Clock,
  ): Promise<PolicyService<Prepared>> {
    const service = new PolicyService(store, publisher, scopes, clock);
    await publisher.commit(publisher.prepare(service.#current.rules));
    return service;
  }

  /** The preset that was chosen, or null before that. */
  get preset(): string | null {
    return this.#current.preset;
  }

  /** All rules in force, in order of creation. */
  get rules(): readonly StoredRule[] {
    return this.#current.rules;
  }

  get generation(): number {
    return this.#publisher.generation;
  }

  /**
   * Adds rules, all or none.
   *
   * @returns when all workers enforce them.
   * @throws SALLYPORT_POLICY_INVALID, SALLYPORT_POLICY_UNINITIALIZED, SALLYPORT_POLICY_TOO_LARGE,
   *   SALLYPORT_NOT_FOUND for a sandbox, SALLYPORT_PUBLISH_TIMEOUT
   */
  async add(wanted: readonly NewRule[]): Promise<StoredRule[]> {
    const parsed = wanted.map((rule) => {
      const resources = parseAll(rule.resources);
      checkForDecision(rule.decision, resources);
      const { methods = [], paths = [] } = rule;
      if (methods.length + paths.length === 0) return { rule, resources, http: undefined };
      checkForHttp(resources, rule.protocols);
      return { rule, resources, http: parseHttpMatch(methods, paths) };
    });
    let added: StoredRule[] = [];
    await this.#enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      if (draft.count + parsed.length > RULES_MAX) {
        throw new SallyportError(
          'SALLYPORT_POLICY_TOO_LARGE',
          `the policy would have ${draft.count + parsed.length} rules; at most ${RULES_MAX} are possible`,
        );
      }
      added = parsed.map(({ rule, resources, http }) => this.#ruleOf(rule, resources, http));
      for (const rule of added) draft.put(rule);
    });
    return added;
  }

  /**
   * Removes a rule by its id, or resources from the rules of a scope. A rule that has none left goes.
   *
   * @throws SALLYPORT_USAGE without a selector, SALLYPORT_NOT_FOUND when it selects nothing; nothing
   *   is removed if one of several resources is not found.
   */
  async remove(selector: Selector): Promise<Removal[]> {
    const { id, resources } = selector;
    const texts = resources === undefined ? null : parseAll(resources).map(({ text }) => text);
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
    await this.#enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      const scope = this.#scopeOf(selector.sandbox);
      const byId = id === undefined ? null : [this.#byId(draft, id, selector.sandbox)];
      removed =
        texts === null
          ? whole(byId ?? [])
          : matching(byId ?? draft.select(inScope(scope, http)), texts);
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
    await this.#enqueue((draft) => {
      if (draft.preset !== null) {
        throw new SallyportError(
          'SALLYPORT_CONFLICT',
          `the global network policy is already initialized as ${draft.preset}; to choose again, run \`sbx policy reset\` first`,
        );
      }
      this.#install(draft, preset);
    });
  }

  /** Removes all rules, of the sandboxes too, and the choice of a preset: everything is denied. */
  async reset(): Promise<void> {
    await this.#enqueue((draft) => {
      for (const { id } of draft.select(() => true)) draft.remove(id);
      draft.preset = null;
    });
  }

  /** Removes all rules of one sandbox. */
  async dropScope(number: number): Promise<void> {
    await this.#enqueue((draft) => {
      for (const { id } of draft.select(({ scope }) => scope === number)) draft.remove(id);
    });
  }

  /** @returns when no change is under way. */
  async settled(): Promise<void> {
    await this.#running;
  }

  #install(draft: Draft, preset: PresetName): void {
    for (const { id, decision, resources } of presetRules(preset)) {
      draft.put({
        position: this.#position++,
        id,
        name: id,
        source: 'local',
        decision,
        scope: GLOBAL_SCOPE,
        protocols: protocolsOf(decision, undefined),
        resources,
        createdVia: 'default',
        createdAtMs: this.#clock.wallMs(),
      });
    }
    draft.preset = preset;
  }

  #ruleOf(
    wanted: NewRule,
    resources: readonly Resource[],
    http: HttpMatch | undefined,
  ): StoredRule {
    const id = randomUUID();
    return {
      position: this.#position++,
      id,
      name: id,
      source: 'local',
      decision: wanted.decision,
      scope: this.#scopeOf(wanted.sandbox),
      protocols: http === undefined ? protocolsOf(wanted.decision, wanted.protocols) : ['tcp'],
      resources,
      createdVia: 'added',
      createdAtMs: this.#clock.wallMs(),
      ...(http && { http }),
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

  #enqueue(apply: (draft: Draft) => void): Promise<void> {
    if (this.#waiting.length >= POLICY_CHANGES_WAITING_MAX) {
      const message = `${POLICY_CHANGES_WAITING_MAX} policy changes are waiting already`;
      return Promise.reject(new SallyportError('SALLYPORT_OVERLOADED', message));
    }
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ apply, done });
    this.#running ??= this.#run();
    return done.promise;
  }

  /** Batches: all that waits while one batch is published makes up the next. */
  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#publish(batch, batch.length > 1);
      } catch {
        // One of them does not fit or does not store; alone, each gets its own answer.
        for (const work of batch) await this.#publish([work], false);
      }
    }
    this.#running = null; // In the same turn as the look above: no change is left lying.
  }

  /** @throws only if `retry`, and then nothing has happened and nobody has been answered. */
  async #publish(batch: readonly Work[], retry: boolean): Promise<void> {
    const { draft, applied, refused } = this.#applyAll(batch);
    try {
      if (draft.changed) await this.#commit(draft);
    } catch (error) {
      if (retry) throw error;
      for (const { done } of applied) done.reject(error);
      return;
    }
    for (const { done } of applied) done.resolve();
    for (const [{ done }, error] of refused) done.reject(error);
  }

  #applyAll(batch: readonly Work[]): { draft: Draft; applied: Work[]; refused: [Work, unknown][] } {
    const draft = new Draft(this.#current);
    const applied: Work[] = [];
    const refused: [Work, unknown][] = [];
    for (const work of batch) {
      try {
        work.apply(draft); // Each checks everything before it changes the draft.
        applied.push(work);
      } catch (error) {
        refused.push([work, error]);
      }
    }
    return { draft, applied, refused };
  }

  async #commit(draft: Draft): Promise<void> {
    const rules = draft.result();
    const prepared = this.#publisher.prepare(rules);
    this.#store.change(draft.change());
    const before = this.#publisher.generation;
    try {
      await this.#publisher.commit(prepared);
    } catch (error) {
      // Not in force anywhere: take it back. In force but for one stuck lane: it stands, unacknowledged.
      if (this.#publisher.generation === before) this.#store.change(draft.inverse());
      else this.#current = draft.settle(rules);
      throw error;
    }
    this.#current = draft.settle(rules);
  }
}

/** Rules of a scope for these requests; null: for all that goes there. */
function inScope(scope: number, http: HttpMatch | null): (rule: StoredRule) => boolean {
  const wanted = http === null ? undefined : JSON.stringify(http);
  return (rule) =>
    rule.scope === scope &&
    (rule.http === undefined ? undefined : JSON.stringify(rule.http)) === wanted;
}

/** @throws SALLYPORT_POLICY_UNINITIALIZED always, to those who may not go on. */
function uninitialized(): SallyportError {
  return new SallyportError(
    'SALLYPORT_POLICY_UNINITIALIZED',
    'global network policy has not been initialized; run `sbx policy set-default allow-all|balanced|deny-all`',
  );
}

/** An address says nothing of whose requests go there. @throws SALLYPORT_POLICY_INVALID naming all */
function checkForHttp(
  resources: readonly Resource[],
  protocols: readonly Protocol[] | undefined,
): void {
  const faults = resources
    .filter(({ kind }) => kind === 'cidr')
    .map(({ text }) => `${text}: an HTTP rule names hosts, not addresses`);
  if (protocols?.includes('udp')) faults.push('an HTTP rule is for tcp alone');
  if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('; '));
}

function parseAll(lists: readonly string[]): readonly Resource[] {
  return parseResources(lists.join(','));
}

function protocolsOf(
  decision: Decision,
  wanted: readonly Protocol[] | undefined,
): readonly Protocol[] {
  if (wanted !== undefined) return [...new Set(wanted)].sort();
  return decision === 'allow' ? ['tcp'] : ['tcp', 'udp'];
}
