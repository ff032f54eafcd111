// Phase 3 of 5: asks the policy, then has every address judged that the name leads to. What comes
// out is a permit; nothing else can be dialled.
import { SallyportError } from '../base/errors.ts';
import { PERMITS_PER_NAME_MAX } from '../base/limits.ts';
import { type Address, isAddress } from '../policy/address.ts';
import type { Matcher, Question } from '../policy/decision.ts';
import {
  judgeAddresses,
  judgeTarget,
  judgeTunnel,
  type RefusedAddress,
  type TunnelVerdict,
} from '../policy/judge.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { ProxySettings, Sandbox, Target } from './exchange.ts';
import type { Entry } from './record.ts';
import type { Resolution, Resolver } from './resolve.ts';

/**
 * Leave to open connections for one target, to the addresses in it and to no other.
 *
 * `decide` is the only maker of permits and `route` accepts nothing else, so there is no way to
 * dial that skips the policy. The addresses are pinned here: asking for the name again would let
 * DNS answer differently the second time.
 */
export class Permit {
  readonly target: Target;
  /** At least one, in the order to try them. */
  readonly addresses: readonly Address[];
  /**
   * The same for all permits of one sandbox that lead to the same place by the same name. Others
   * never share its connections: some origins authenticate a connection, not a request (RFC 4559).
   */
  readonly poolKey: string;

  /** @internal Only decide.ts calls this; test/tidy.test.ts checks that. */
  constructor(target: Target, { addresses, poolKey }: Vetted) {
    this.target = target;
    this.addresses = addresses;
    this.poolKey = poolKey;
  }
}

/** Addresses that were judged, kept with the resolution they came from. */
type Vetted = {
  readonly generation: number;
  readonly addresses: readonly Address[];
  readonly poolKey: string;
};

export type Deciders = {
  readonly matcher: Matcher;
  readonly resolver: Resolver;
  readonly current: { readonly settings: ProxySettings };
  /** Per resolution: what `scope port` may dial; forgotten with it, and at each policy change. */
  readonly vetted: WeakMap<Resolution, Map<string, Vetted>>;
};

const LOOPBACK = Object.freeze({ addresses: Object.freeze(['127.0.0.1', '::1'] as Address[]) });

/**
 * Decides one request.
 *
 * @returns null for a CONNECT to a host that HTTP rules cover: nothing is dialled for it, and each
 *   request inside is decided for itself.
 * @throws SALLYPORT_DENIED             the policy says no, or says nothing (deny by default).
 * @throws SALLYPORT_ADDRESS_FORBIDDEN  allowed by name, but it leads only where no rule allows.
 * @throws SALLYPORT_DNS_FAILED, SALLYPORT_DNS_TIMEOUT, SALLYPORT_OVERLOADED
 */
export function decide(
  sandbox: Sandbox,
  target: Target,
  entry: Entry,
  deciders: Deciders,
): Permit | Promise<Permit> | null {
  const { host, port, method, path } = target;
  const { settings } = deciders.current;
  const question: Question = { scope: sandbox.scope, host, port, protocol: 'tcp' };
  const verdict =
    method === 'CONNECT'
      ? tunnelVerdict(question, settings, entry, deciders)
      : judgeTarget(deciders.matcher, question, settings.addressGuard, { method, target: path });
  entry.judged(verdict, verdict.reason);
  if (verdict.action !== 'allow') throw denied(target, verdict.reason);
  if ('way' in verdict && verdict.way === 'by-request') return null;
  const grant = (resolution: Resolution): Permit => {
    return new Permit(target, vet(question, resolution, verdict.generation, entry, deciders));
  };
  if (isAddress(host)) return grant(deciders.resolver.literal(host));
  if (host === 'localhost') return grant(LOOPBACK);
  const resolution = deciders.resolver.resolve(host, sandbox.scope);
  return resolution instanceof Promise ? resolution.then(grant) : grant(resolution);
}

/** A CONNECT's, noting where a refusal has to be told. */
function tunnelVerdict(
  question: Question,
  { addressGuard, bypassOf }: ProxySettings,
  entry: Entry,
  { matcher }: Deciders,
): TunnelVerdict {
  const verdict = judgeTunnel(matcher, question, addressGuard);
  const opaque = verdict.way === 'by-request' && bypassOf(question.host, question.port) !== null;
  entry.closed = opaque || verdict.way === 'closed';
  return opaque ? { ...verdict, action: 'deny', reason: OPAQUE } : verdict;
}

const OPAQUE = 'HTTP rules cover it, and it is on the bypass list, where no request can be judged';

/** @returns the addresses of the resolution that may be dialled, at least one. */
function vet(
  question: Question,
  resolution: Resolution,
  generation: number,
  entry: Entry,
  { matcher, current, vetted }: Deciders,
): Vetted {
  const { settings } = current;
  const key = `${question.scope} ${question.port} ${settings.addressGuard}`;
  let kept = vetted.get(resolution);
  const known = kept?.get(key);
  if (known !== undefined && known.generation === generation) return known;

  const judged = judgeAddresses(matcher, question, resolution.addresses, settings.addressGuard);
  const addresses = judged.checked.filter((address) => !settings.isOwn(address, question.port));
  if (addresses.length === 0) {
    throw forbidden(question, judged.refused[0] ?? ITSELF, entry);
  }
  if (kept === undefined) {
    kept = new Map();
    vetted.set(resolution, kept);
  }
  if (kept.size >= PERMITS_PER_NAME_MAX) kept.clear();
  const fresh = { generation, addresses, poolKey: poolKeyOf(question, addresses) };
  kept.set(key, fresh);
  return fresh;
}

/** Sorted, since name servers like to turn the order around. */
function poolKeyOf({ scope, host, port }: Question, addresses: readonly Address[]): string {
  return `${scope} ${host} ${port} ${addresses.toSorted().join(' ')}`;
}

function denied({ host, port }: Target, reason: string | null): SallyportError {
  const why = reason ?? 'no rule allows it';
  return new SallyportError(
    'SALLYPORT_DENIED',
    `${formatHostPort(host, port)} is not allowed: ${why}`,
  );
}

const ITSELF = { rule: null, source: null, reason: 'the proxy itself' } as const;

/** The rule that allowed the name is not the one that refuses; a deny on the address is. */
function forbidden(
  { host, port }: Question,
  refused: Pick<RefusedAddress, 'rule' | 'source' | 'reason'>,
  entry: Entry,
): SallyportError {
  const reason = `resolved-address: ${formatHostPort(host, port)} leads to ${refused.reason}`;
  entry.draft.verdict = 'deny';
  entry.draft.deny_kind = refused.rule === null ? 'implicit' : 'explicit';
  entry.draft.rule = refused.rule;
  entry.draft.source = refused.source;
  entry.draft.reason = reason;
  return new SallyportError('SALLYPORT_ADDRESS_FORBIDDEN', reason);
}
