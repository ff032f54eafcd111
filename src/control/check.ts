// `policy check`: asks the daemon's own lane, over the same image and through the same function as
// the workers, and words the answer as sbx does.

import { isAddress } from '../policy/address.ts';
import type { Matcher } from '../policy/decision.ts';
import { type AddressGuard, judgeTarget } from '../policy/judge.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { formatHostPort } from '../policy/resource.ts';
import { GLOBAL_SCOPE, type Protocol } from '../policy/rule.ts';
import { parseTarget } from '../policy/target.ts';
import { scopeName } from './listing.ts';
import type { ScopeNames } from './policy.ts';
import type { CheckResult } from './schemas.ts';

export type CheckRequest = {
  readonly target: string;
  readonly sandbox_id?: string | undefined;
  readonly protocol: Protocol;
};

/** @throws SALLYPORT_NOT_FOUND for an unknown sandbox, SALLYPORT_TARGET_INVALID */
export function checkTarget(
  services: {
    readonly matcher: Matcher;
    readonly sandboxes: ScopeNames;
    readonly addressGuard: AddressGuard;
  },
  { target, sandbox_id: sandbox, protocol }: CheckRequest,
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
