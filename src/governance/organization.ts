// The policies of one organisation, as the public Governance API changes them: each change is checked,
// written with its entry in the audit, and answered when both are on the disk. What no daemon could
// enforce is not taken.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import {
  GOVERNANCE_AUDIT_DEFAULT_MAX,
  GOVERNANCE_POLICIES_MAX,
  GOVERNANCE_POLICY_BYTES_MAX,
  GOVERNANCE_RULES_MAX,
} from '../base/limits.ts';
import type { RuleDraft, Settings } from '../control/governance/api.ts';
import { checkRule, type Domain, domainOf } from '../control/governance/rules.ts';
import { ApiError } from './errors.ts';
import type { AuditEntry, GovernanceStore, StoredPolicy, StoredRule } from './store.ts';

export type Summary = {
  readonly id: string;
  readonly name: string;
  readonly org: string;
  readonly scope: { readonly teams: readonly string[] };
  readonly created_at: string;
  readonly updated_at: string;
  readonly type: 'allowlist_v0';
};

export type Policy = Summary & {
  readonly allowlist_v0: { readonly domain: Domain; readonly rules: readonly StoredRule[] };
};

type Page<T> = { readonly data: readonly T[]; readonly next_page_token: string | null };
type Changed<T> = { readonly old: T; readonly new: T };

/** What a policy is beside its rules; absent: as it was. */
export type PolicyChange = {
  readonly name?: string | undefined;
  readonly scope?: { readonly teams?: readonly string[] | null | undefined } | null | undefined;
  readonly cedar_v1?: unknown;
};

/** Absent: as it was; null: gone. */
export type RuleChange = { readonly [K in keyof RuleDraft]?: RuleDraft[K] | undefined };

export class Organization {
  readonly name: string;
  readonly #store: GovernanceStore;
  readonly #clock: Clock;
  readonly #auditRows: number;

  /** @param auditRows  how many entries of the audit are kept; the oldest go with the next change. */
  constructor(
    name: string,
    store: GovernanceStore,
    clock: Clock,
    auditRows: number = GOVERNANCE_AUDIT_DEFAULT_MAX,
  ) {
    this.name = name;
    this.#auditRows = auditRows;
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws ApiError for a token that this did not give */
  list(pageSize: number, pageToken: string | undefined): Page<Summary> {
    const after = positionOf(pageToken) ?? 0;
    const found = this.#store.policies(after, pageSize + 1);
    const page = found.slice(0, pageSize);
    const last = found.length > pageSize ? page.at(-1) : undefined;
    return {
      data: page.map((one) => this.#summary(one)),
      next_page_token: tokenOf(last?.position),
    };
  }

  /** @throws ApiError */
  get(id: string): Policy {
    return this.#policy(this.#find(id));
  }

  /** @throws ApiError */
  create(actor: string, { name, scope, cedar_v1: cedar }: PolicyChange & { name: string }): Policy {
    refuseCedar(cedar);
    return this.#store.transaction(() => {
      if (this.#store.policyCount() >= GOVERNANCE_POLICIES_MAX) {
        throw new ApiError('limit_exceeded', `at most ${GOVERNANCE_POLICIES_MAX} policies`);
      }
      this.#checkName(name, null);
      const id = newId('pol_');
      const nowMs = this.#clock.wallMs();
      const teams = scope?.teams ?? [];
      this.#store.addPolicy({ id, name, teams, createdMs: nowMs, updatedMs: nowMs });
      const after = this.get(id);
      this.#audit(actor, 'policy.create', { policy: id, after });
      return after;
    });
  }

  /** @throws ApiError */
  update(actor: string, id: string, change: PolicyChange): Changed<Policy> {
    refuseCedar(change.cedar_v1);
    return this.#store.transaction(() => {
      const before = this.#find(id);
      const old = this.#policy(before);
      if (change.name !== undefined) this.#checkName(change.name, id);
      const { name = before.name, scope } = change;
      this.#store.updatePolicy({ ...before, name, teams: scope?.teams ?? before.teams });
      const after = this.#touched(id);
      this.#audit(actor, 'policy.update', { policy: id, before: old, after });
      return { old, new: after };
    });
  }

  /** @throws ApiError */
  remove(actor: string, id: string): { readonly deleted: Policy } {
    return this.#store.transaction(() => {
      const deleted = this.get(id);
      this.#store.removePolicy(id);
      this.#audit(actor, 'policy.delete', { policy: id, before: deleted });
      return { deleted };
    });
  }

  /** @throws ApiError, SALLYPORT_POLICY_INVALID for what cannot be enforced */
  addRule(actor: string, policyId: string, draft: RuleDraft): StoredRule {
    return this.#store.transaction(() => {
      const rules = this.#rulesOf(policyId);
      if (rules.length >= GOVERNANCE_RULES_MAX) {
        throw new ApiError('limit_exceeded', `at most ${GOVERNANCE_RULES_MAX} rules of one policy`);
      }
      checkRule(draft, domainWith(draft, rules));
      const rule = { id: newId('rule_'), ...withoutNull(draft) };
      this.#store.addRule(policyId, rule);
      this.#touched(policyId);
      this.#audit(actor, 'rule.create', { policy: policyId, rule: rule.id, after: rule });
      return rule;
    });
  }

  /** @throws ApiError, SALLYPORT_POLICY_INVALID for what cannot be enforced */
  updateRule(
    actor: string,
    policyId: string,
    ruleId: string,
    change: RuleChange,
  ): Changed<StoredRule> {
    return this.#store.transaction(() => {
      const rules = this.#rulesOf(policyId);
      const old = ruleIn(rules, ruleId);
      const given = Object.entries(change).filter(([, value]) => value !== undefined);
      const rule = withoutNull({ ...old, ...Object.fromEntries(given) } as StoredRule);
      checkRule(
        rule,
        domainWith(
          rule,
          rules.filter(({ id }) => id !== ruleId),
        ),
      );
      this.#store.updateRule(rule);
      this.#touched(policyId);
      this.#audit(actor, 'rule.update', {
        policy: policyId,
        rule: ruleId,
        before: old,
        after: rule,
      });
      return { old, new: rule };
    });
  }

  /** @throws ApiError */
  removeRule(actor: string, policyId: string, ruleId: string): { readonly deleted: StoredRule } {
    return this.#store.transaction(() => {
      const deleted = ruleIn(this.#rulesOf(policyId), ruleId);
      this.#store.removeRule(ruleId);
      this.#touched(policyId);
      this.#audit(actor, 'rule.delete', { policy: policyId, rule: ruleId, before: deleted });
      return { deleted };
    });
  }

  get settings(): Settings {
    return this.#store.settings;
  }

  updateSettings(
    actor: string,
    change: { readonly [K in keyof Settings]?: Settings[K] | undefined },
  ): Changed<Settings> {
    return this.#store.transaction(() => {
      const old = this.settings;
      const { support_message: message = old.support_message, delegates = old.delegates } = change;
      const settings = { support_message: message, delegates };
      this.#store.settings = settings;
      this.#audit(actor, 'settings.update', { before: old, after: settings });
      return { old, new: settings };
    });
  }

  /** Who changed what, the latest first. @throws ApiError */
  audit(pageSize: number, pageToken: string | undefined): Page<object> {
    const found = this.#store.audit(positionOf(pageToken), pageSize + 1);
    const page = found.slice(0, pageSize);
    const last = found.length > pageSize ? page.at(-1) : undefined;
    const data = page.map(({ seq, timeMs, actor, action, policy, rule, before, after }) => ({
      seq,
      time: isoOf(timeMs),
      actor,
      action,
      policy_id: policy,
      rule_id: rule,
      before,
      after,
    }));
    return { data, next_page_token: tokenOf(last?.seq) };
  }

  #find(id: string): StoredPolicy {
    const found = this.#store.policy(id);
    if (found !== null) return found;
    throw new ApiError('not_found', `there is no policy ${id}`);
  }

  #rulesOf(policyId: string): StoredRule[] {
    return this.#store.rules(this.#find(policyId).id);
  }

  #checkName(name: string, id: string | null): void {
    const same = this.#store.policyNamed(name);
    if (same === null || same.id === id) return;
    throw new ApiError('conflict', `there is a policy "${name}" already`);
  }

  /** A list that was read before must differ from one that is read after. @throws ApiError */
  #touched(id: string): Policy {
    const before = this.#find(id);
    const updatedMs = Math.max(this.#clock.wallMs(), before.updatedMs + 1);
    this.#store.updatePolicy({ ...before, updatedMs });
    const after = this.get(id);
    if (Buffer.byteLength(JSON.stringify(after)) <= GOVERNANCE_POLICY_BYTES_MAX) return after;
    throw new ApiError(
      'limit_exceeded',
      `at most ${GOVERNANCE_POLICY_BYTES_MAX} bytes of one policy`,
    );
  }

  #summary({ id, name, teams, createdMs, updatedMs }: StoredPolicy): Summary {
    return {
      id,
      name,
      org: this.name,
      scope: { teams },
      created_at: isoOf(createdMs),
      updated_at: isoOf(updatedMs),
      type: 'allowlist_v0',
    };
  }

  #policy(stored: StoredPolicy): Policy {
    const rules = this.#store.rules(stored.id);
    const [first] = rules;
    const domain = first === undefined ? 'network' : domainOf(first); // Without rules it may become either.
    return { ...this.#summary(stored), allowlist_v0: { domain, rules } };
  }

  #audit(actor: string, action: string, facts: Partial<AuditEntry>): void {
    const { policy = null, rule = null, before = null, after = null } = facts;
    const timeMs = this.#clock.wallMs();
    const entry = { timeMs, actor, action, policy, rule, before, after };
    this.#store.addAudit(entry, this.#auditRows);
  }
}

/** @throws ApiError */
function refuseCedar(cedar: unknown): void {
  if (cedar === undefined || cedar === null) return;
  throw new ApiError(
    'unimplemented',
    'cedar_v1 policies are not supported; use allowlist_v0 rules',
  );
}

/** The domain of a policy is that of its other rules; of the first one it is its own. */
function domainWith(rule: RuleDraft, [first = rule]: readonly RuleDraft[]): Domain {
  return domainOf(first);
}

function ruleIn(rules: readonly StoredRule[], id: string): StoredRule {
  const found = rules.find((rule) => rule.id === id);
  if (found !== undefined) return found;
  throw new ApiError('not_found', `there is no rule ${id} in this policy`);
}

function withoutNull<R extends RuleDraft>(rule: R): R {
  return Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== null)) as R;
}

function newId(prefix: string): string {
  return `${prefix}${randomUUID().replaceAll('-', '')}`;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}

function tokenOf(position: number | undefined): string | null {
  return position === undefined ? null : Buffer.from(String(position)).toString('base64url');
}

/** @throws ApiError */
function positionOf(token: string | undefined): number | null {
  if (token === undefined) return null;
  const text = Buffer.from(token, 'base64url').toString();
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ApiError('invalid_argument', 'page_token is none that was given here');
}
