// Rules as listings show them: the JSON of `policy ls --json` and GET /policy/network/rules. Adds the
// rows that no traffic rule stands behind: filesystem defaults, and the implicit deny of deny-all.

import { methodNames } from '../policy/http.ts';
import { inactiveReason } from '../policy/precedence.ts';
import { FILESYSTEM_DEFAULTS } from '../policy/presets.ts';
import { type CreatedVia, type Decision, GLOBAL_SCOPE, type Source } from '../policy/rule.ts';
import type { ScopeNames } from './policy.ts';
import { fixedReason } from './removal.ts';
import type { PolicySettings, StoredRule } from './store.ts';

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
  policy: { readonly rules: readonly StoredRule[] } & PolicySettings,
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
  const { id, name, scope: number, source, decision, resources, createdVia, http } = rule;
  const scope = scopeName(number, scopes);
  const own = number !== GLOBAL_SCOPE;
  return {
    id,
    name,
    ...policyFacts(rule, scope),
    scope,
    applies_to: own ? scope : 'all',
    ...(own ? { sandbox_id: scope.slice('sandbox:'.length) } : {}),
    resource_type: http === undefined ? 'network' : 'http',
    decision,
    ...(http && { methods: methodNames(http), paths: http.paths }),
    resources: resources.map(({ text }) => text),
    origin: own && source === 'local' ? 'scoped' : LAYERS[source],
    layer: LAYERS[source],
    ...statusFacts(inactiveReason(rule, 'network', governance, semantics)),
    ...editFacts(fixedReason(rule, semantics)),
    provenance: { created_via: createdVia },
    actions: actionsOf(rule),
  };
}

function policyFacts(
  { source, policy }: StoredRule,
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

type Listed = { readonly rules: readonly StoredRule[] } & PolicySettings;

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
  if ((type === 'all' || type === 'filesystem') && policy.preset !== null) {
    for (const { id, type } of FILESYSTEM_DEFAULTS) yield defaultRow(id, type, 'allow', policy);
  }
}

function* network(
  policy: Listed,
  scopes: ScopeNames,
  scope: number | null,
  httpOnly: boolean,
): Iterable<RuleListing> {
  if (policy.preset === 'deny-all' && !httpOnly) {
    yield defaultRow(IMPLICIT_DENY_ID, 'network', 'deny', policy);
  }
  for (const rule of policy.rules) {
    const shown = scope === null || rule.scope === GLOBAL_SCOPE || rule.scope === scope;
    if (shown && (!httpOnly || rule.http !== undefined)) yield listRule(rule, scopes, policy);
  }
}

function defaultRow(
  id: string,
  type: ResourceType,
  decision: Decision,
  { governance, semantics }: PolicySettings,
): RuleListing {
  const ruleType = type.startsWith('filesystem') ? 'filesystem' : 'network';
  const actions: Readonly<Record<ResourceType, readonly string[]>> = {
    network: ['net:connect:tcp', 'net:connect:udp'],
    http: [],
    'filesystem:read': ['fs:mount:read'],
    'filesystem:write': ['fs:mount:write'],
  };
  return {
    id,
    name: id,
    policy_id: POLICY_ID,
    scope: 'global',
    applies_to: 'all',
    resource_type: type,
    decision,
    resources: ['**'],
    origin: 'local',
    layer: 'local',
    ...statusFacts(inactiveReason({ source: 'local', decision }, ruleType, governance, semantics)),
    editable: false,
    provenance: { created_via: 'default' },
    actions: actions[type],
  };
}
