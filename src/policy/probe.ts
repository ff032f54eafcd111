// One request of a sandbox from its name to where that leads, judged as enforcement does: for tools
// that ask what a policy would say of requests that were, or could be.
import type { Address } from './address.ts';
import type { Matcher } from './decision.ts';
import type { Host } from './host.ts';
import {
  type AddressGuard,
  type AskedRequest,
  judgeAddresses,
  judgeTarget,
  judgeTunnel,
} from './judge.ts';
import type { Protocol } from './rule.ts';

/** What a sandbox asks for, and where that leads. */
export type Probe = {
  readonly scope: number;
  readonly protocol: Protocol;
  readonly host: Host | Address;
  readonly port: number;
  /** Null: the connection as a whole, which is what CONNECT opens. */
  readonly request: AskedRequest | null;
  /** The address that the name leads to, where that matters. */
  readonly address: Address | null;
};

export type Judgement = {
  /** open: a connection of which nothing can be said before there are requests. */
  readonly action: 'allow' | 'deny' | 'open';
  readonly rule: string | null;
  /** Why it is denied. */
  readonly reason: string | null;
};

export function judgeProbe(matcher: Matcher, probe: Probe, guard: AddressGuard): Judgement {
  const { scope, host, port, protocol, request, address } = probe;
  const question = { scope, host, port, protocol };
  const verdict =
    request === null
      ? judgeTunnel(matcher, question, guard)
      : judgeTarget(matcher, question, guard, request);
  const { action, rule, reason } = verdict;
  if ('way' in verdict && verdict.way === 'by-request') {
    return { action: 'open', rule: null, reason: null };
  }
  if (action === 'deny' || address === null) return { action, rule, reason };
  const [refused] = judgeAddresses(matcher, question, [address], guard).refused;
  if (refused === undefined) return { action, rule, reason };
  return { action: 'deny', rule: refused.rule, reason: `it leads to ${refused.reason}` };
}
