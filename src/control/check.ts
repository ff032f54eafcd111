// `policy check`: asks the daemon's own lane, over the same image and through the same function as
// the workers, and words the answer as sbx does.

import type { Credentials } from '../credentials/inject.ts';
import { isAddress } from '../policy/address.ts';
import type { Matcher } from '../policy/decision.ts';
import { type AddressGuard, judgeTarget } from '../policy/judge.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { resourceMatches } from '../policy/reference.ts';
import { formatHostPort, parseResources } from '../policy/resource.ts';
import { GLOBAL_SCOPE, type Protocol } from '../policy/rule.ts';
import { parseTarget } from '../policy/target.ts';
import { scopeName } from './listing.ts';
import type { ScopeNames } from './policy.ts';
import type { CheckResult } from './schemas.ts';

export type CheckRequest = {
  readonly target: string;
  readonly sandbox_id?: string | undefined;
  readonly protocol: Protocol;
  /** Tell of interception too. */
  readonly verbose?: boolean | undefined;
};

/** What decides on interception, as the workers have it at present. */
export type InterceptionFacts = () => {
  readonly credentials: Credentials;
  readonly bypass: readonly string[];
  readonly deny: 'inside' | 'connect';
};

type Interception = NonNullable<CheckResult['interception']>;

/** The workers' own order: a refusal, the bypass list, what is bound. */
function interceptionOf(
  { credentials, bypass, deny }: ReturnType<InterceptionFacts>,
  { scope, host, port }: { scope: number; host: string; port: number },
  allowed: boolean,
): Interception {
  const bound = credentials.explain(scope, host, port);
  const told = (intercepted: boolean, reason: string): Interception => ({
    intercepted,
    reason,
    credentials: intercepted && allowed ? bound : [],
  });
  if (!allowed) {
    return deny === 'inside'
      ? told(true, 'it is denied, and the refusal is told inside TLS')
      : told(false, 'it is denied');
  }
  if (bound.length === 0) return told(false, 'no credential is bound to it');
  const passed = bypass.flatMap((one) => parseResources(one));
  return passed.some((resource) => resourceMatches(resource, host, port))
    ? told(false, 'it is on the bypass list')
    : told(true, 'a credential is bound to it');
}

/** @throws SALLYPORT_NOT_FOUND for an unknown sandbox, SALLYPORT_TARGET_INVALID */
export function checkTarget(
  services: {
    readonly matcher: Matcher;
    readonly sandboxes: ScopeNames;
    readonly addressGuard: AddressGuard;
    readonly interception: InterceptionFacts;
  },
  { target, sandbox_id: sandbox, protocol, verbose }: CheckRequest,
): CheckResult {
  const { matcher, sandboxes, addressGuard } = services;
  const scope = sandbox === undefined ? GLOBAL_SCOPE : sandboxes.numberOf(sandbox);
  const { host, port } = parseTarget(target);
  const verdict = judgeTarget(matcher, { scope, host, port, protocol }, addressGuard);
  const { action, kind, rule, source, reason, generation } = verdict;
  const place = formatHostPort(host, port);
  const about = {
    action: `net:connect:${protocol}`,
    allowed: action === 'allow',
    context: scopeName(scope, sandboxes),
    governance: { active: false },
    resource_type: isAddress(host) ? 'net:ip' : 'net:domain',
    resource_value: place,
    target: place,
    type: 'network' as const,
    ...(verbose && {
      interception: interceptionOf(
        services.interception(),
        { scope, host, port },
        action === 'allow',
      ),
    }),
    generation,
  };
  const named = rule === null ? null : ruleLabel(rule);
  if (action === 'allow') return { ...about, ...(named === null ? {} : { matched_rule: named }) };
  return {
    ...about,
    deny_kind: kind,
    ...(source === null ? {} : { origin: source === 'remote' ? 'org' : source }),
    ...(reason === null ? {} : { reason }),
    ...(named === null ? {} : { rule: named }),
  };
}
