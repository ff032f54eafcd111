// Rules as listings show them: the JSON of `policy ls --json` and GET /policy/network/rules. Adds the
// row that no rule stands behind: the implicit deny of deny-all.

import { methodNames } from '../../policy/http.ts';
import { actionOf } from '../../policy/mount.ts';
import { inactiveReason } from '../../policy/precedence.ts';
import { type CreatedVia, type Decision, GLOBAL_SCOPE, type Source } from '../../policy/rule.ts';
import type { PolicySettings, StoredRule } from '../store.ts';
import type { StoredPathRule } from './path-rule-store.ts';
import type { ScopeNames } from './policy.ts';
import { fixedReason } from './removal.ts';

export type ResourceType = 'network' | 'http' | 'filesystem:read' | 'filesystem:write';

export type RuleListing = {
  readonly id: string;
  readonly name: string;
  readonly policy_id: string;
  /** Of an organisation's rule. */
  readonly policy_name?: string;
  /** `global` or `sandbox:NAME` */
  readonly scope: string;
  /** `all` or `sandbox:NAME` */
  readonly applies_to: string;
  readonly sandbox_id?: string;
  readonly resource_type: ResourceType;
  readonly decision: Decision;
  readonly resources: readonly string[];
  /** Of an HTTP rule. */
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly origin: 'local' | 'scoped' | 'kit' | 'org';
  readonly layer: 'local' | 'kit' | 'org';
  readonly status: 'active' | 'inactive';
  /** Why it does not count at present. */
  readonly inactive_reason?: string;
  readonly editable: boolean;
  /** Why it is not. */
  readonly read_only_reason?: string;
  readonly provenance: { readonly created_via: CreatedVia };
  /** Of one that ends by itself. */
  readonly expires_at?: string;
  readonly actions: readonly string[];
};

export type ListFilter = {
  /** network: HTTP rules among them, as they are network rules. */
  readonly type: 'all' | 'network' | 'http' | 'filesystem';
  /** Global rules and this sandbox's; absent: all. */
  readonly sandbox?: string | undefined;
  /** Rules that do not count at present, too. */
  readonly inactive?: boolean | undefined;
};

/** A row that tells of the implicit deny; no rule stands behind it. */
export const IMPLICIT_DENY_ID = 'default-deny-all';

/** What a listing is made of. */
export type Listed = {
  readonly rules: readonly StoredRule[];
  readonly pathRules: readonly StoredPathRule[];
} & PolicySettings;

const POLICY_ID = 'local-policy';
const LAYERS = { local: 'local', kit: 'kit', remote: 'org' } as const satisfies Record<
  Source,
  string
>;

/**
 * @returns listings in order of creation, made as they are asked for: there may be 10^6.
 * @throws SALLYPORT_NOT_FOUND for an unknown sandbox, before the first.
 */
export function listRules(
  policy: Listed,
  scopes: ScopeNames,
  filter: ListFilter,
): Iterable<RuleListing> {
  const scope = filter.sandbox === undefined ? null : scopes.numberOf(filter.sandbox);
  return generate(policy, scopes, filter, scope);
}

/** @returns `global` or `sandbox:NAME` */
export function scopeName(scope: number, scopes: ScopeNames): string {
  return scope === GLOBAL_SCOPE ? 'global' : `sandbox:${scopes.nameOf(scope) ?? `#${scope}`}`;
}

export function listRule(
  rule: StoredRule,
  scopes: ScopeNames,
  { governance, semantics }: Omit<PolicySettings, 'preset'>,
): RuleListing {
  const { resources, http } = rule;
  return {
    ...ownerFacts(rule, scopes),
    resource_type: http === undefined ? 'network' : 'http',
    decision: rule.decision,
    ...(http && { methods: methodNames(http), paths: http.paths }),
    resources: resources.map(({ text }) => text),
    ...originFacts(rule),
    ...statusFacts(inactiveReason(rule, 'network', governance, semantics)),
    ...editFacts(fixedReason(rule, semantics)),
    provenance: { created_via: rule.createdVia },
    ...(rule.expiresAtMs !== undefined && {
      expires_at: new Date(rule.expiresAtMs).toISOString(),
    }),
    actions: actionsOf(rule),
  };
}

export function listPathRule(
  rule: StoredPathRule,
  scopes: ScopeNames,
  { governance, semantics }: Omit<PolicySettings, 'preset'>,
): RuleListing {
  return {
    ...ownerFacts(rule, scopes),
    resource_type: `filesystem:${rule.access}`,
    decision: rule.decision,
    resources: rule.patterns.map(({ text }) => text),
    ...originFacts(rule),
    ...statusFacts(inactiveReason(rule, 'filesystem', governance, semantics)),
    ...editFacts(fixedReason(rule, semantics)),
    provenance: { created_via: rule.createdVia },
    actions: [actionOf(rule.access)],
  };
}

type Owned = Pick<StoredRule, 'id' | 'name' | 'scope' | 'source' | 'policy'>;

function ownerFacts(
  rule: Owned,
  scopes: ScopeNames,
): Pick<RuleListing, 'id' | 'name' | 'policy_id' | 'scope' | 'applies_to'> {
  const scope = scopeName(rule.scope, scopes);
  const own = rule.scope !== GLOBAL_SCOPE;
  return {
    id: rule.id,
    name: rule.name,
    ...policyFacts(rule, scope),
    scope,
    applies_to: own ? scope : 'all',
    ...(own ? { sandbox_id: scope.slice('sandbox:'.length) } : {}),
  };
}

function originFacts({ source, scope }: Owned): Pick<RuleListing, 'origin' | 'layer'> {
  const own = scope !== GLOBAL_SCOPE;
  return { origin: own && source === 'local' ? 'scoped' : LAYERS[source], layer: LAYERS[source] };
}

function policyFacts(
  { source, policy }: Owned,
  scope: string,
): Pick<RuleListing, 'policy_id' | 'policy_name'> {
  if (policy !== undefined) return { policy_id: policy.id, policy_name: policy.name };
  return { policy_id: source === 'kit' ? `kit:${scope.replace('sandbox:', '')}` : POLICY_ID };
}

function statusFacts(inactive: string | null): Pick<RuleListing, 'status' | 'inactive_reason'> {
  return inactive === null
    ? { status: 'active' }
    : { status: 'inactive', inactive_reason: inactive };
}

function editFacts(fixed: string | null): Pick<RuleListing, 'editable' | 'read_only_reason'> {
  return fixed === null ? { editable: true } : { editable: false, read_only_reason: fixed };
}

function actionsOf({ protocols, http }: StoredRule): string[] {
  if (http === undefined) return protocols.map((protocol) => `net:connect:${protocol}`);
  return methodNames(http).map((method) => `net:request:${method.toLowerCase()}`);
}

function* generate(
  policy: Listed,
  scopes: ScopeNames,
  { type, inactive }: ListFilter,
  scope: number | null,
): Iterable<RuleListing> {
  for (const listing of all(policy, scopes, type, scope)) {
    if (inactive || listing.status === 'active') yield listing;
  }
}

function* all(
  policy: Listed,
  scopes: ScopeNames,
  type: ListFilter['type'],
  scope: number | null,
): Iterable<RuleListing> {
  if (type !== 'filesystem') yield* network(policy, scopes, scope, type === 'http');
  if (type !== 'all' && type !== 'filesystem') return;
  for (const rule of policy.pathRules) {
    if (isShown(rule, scope)) yield listPathRule(rule, scopes, policy);
  }
}

/** @param scope  null for all */
function isShown(rule: Pick<StoredRule, 'scope'>, scope: number | null): boolean {
  return scope === null || rule.scope === GLOBAL_SCOPE || rule.scope === scope;
}

function* network(
  policy: Listed,
  scopes: ScopeNames,
  scope: number | null,
  httpOnly: boolean,
): Iterable<RuleListing> {
  if (policy.preset === 'deny-all' && !httpOnly) {
    yield denyAllRow(policy);
  }
  for (const rule of policy.rules) {
    if (!isShown(rule, scope) || (httpOnly && rule.http === undefined)) continue;
    yield listRule(rule, scopes, policy);
  }
}

function denyAllRow({ governance, semantics }: PolicySettings): RuleListing {
  const id = IMPLICIT_DENY_ID;
  const rule = { source: 'local', decision: 'deny' } as const;
  return {
    id,
    name: id,
    policy_id: POLICY_ID,
    scope: 'global',
    applies_to: 'all',
    resource_type: 'network',
    decision: 'deny',
    resources: ['**'],
    origin: 'local',
    layer: 'local',
    ...statusFacts(inactiveReason(rule, 'network', governance, semantics)),
    editable: false,
    provenance: { created_via: 'default' },
    actions: ['net:connect:tcp', 'net:connect:udp'],
  };
}
