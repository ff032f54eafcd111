// The one decision function: enforcement, `policy check` and the log all come through here, over
// whichever matcher they have. First the host as it was named, then each address it leads to.
import { type Address, type AddressClass, classify, isAddress } from './address.ts';
import type { Matcher, Question, Verdict } from './decision.ts';
import { LOCALHOST, LOCALHOST_ALIAS } from './host.ts';
import { readingsOf } from './path.ts';
import { reasonOf } from './reasons.ts';

/**
 * strict: a special-use address needs a rule that names it. docker: a rule that allows the name, or
 * `**`, is enough, as sbx has it; metadata and unspecified addresses still need to be named.
 */
export type AddressGuard = 'strict' | 'docker';

export type TargetVerdict = Verdict & {
  /** Why it is denied, in words; null for an allow. */
  readonly reason: string | null;
};

export type RefusedAddress = {
  readonly address: Address;
  readonly class: AddressClass;
  /** The deny rule that covers it; null when it is refused for its class. */
  readonly rule: string | null;
  readonly source: Verdict['source'];
  /** In words, to follow `HOST:PORT leads to`. */
  readonly reason: string;
};

export type AddressVerdict = {
  /** May be dialled, in the order given. */
  readonly checked: readonly Address[];
  readonly refused: readonly RefusedAddress[];
};

const LOOPBACK = ['127.0.0.1', '::1'] as Address[];

/** A request inside the connection; `target` is its path and query as they go upstream. */
export type AskedRequest = { readonly method: string; readonly target: string };

/**
 * Judges the host as it was named, without resolving it.
 *
 * @param asked  absent for a connection as a whole: when HTTP rules cover its host, an implicit deny
 *               says no more than that each request has to be judged.
 */
export function judgeTarget(
  matcher: Matcher,
  question: Question,
  guard: AddressGuard,
  asked?: AskedRequest,
): TargetVerdict {
  if (asked?.method === 'CONNECT') return judgeTunnel(matcher, question, guard);
  const verdict = verdictOf(matcher, question, guard);
  if (!verdict.http || isExplicitDeny(verdict)) return { ...verdict, reason: reasonOf(verdict) };
  if (asked !== undefined) return judgeRequest(matcher, question, guard, asked);
  return { ...verdict, reason: verdict.action === 'allow' ? null : BY_REQUEST };
}

const BY_REQUEST = 'HTTP rules decide by method and path, and no rule allows all requests';

/**
 * whole: what is said of the host is said of all in it. by-request: it opens, and each request inside
 * is judged. closed: it must not open, though requests that come otherwise may be allowed.
 */
export type TunnelVerdict = TargetVerdict & { readonly way: 'whole' | 'by-request' | 'closed' };

/**
 * Judges a CONNECT. Where HTTP rules cover its host, one that denies it closes it. It has no path
 * (RFC 9112 section 3.2.3), so those for every path are about it. None has to allow it: the requests
 * inside are what is allowed.
 */
export function judgeTunnel(
  matcher: Matcher,
  question: Question,
  guard: AddressGuard,
): TunnelVerdict {
  const verdict = verdictOf(matcher, question, guard);
  if (!verdict.http || isExplicitDeny(verdict)) {
    return { ...verdict, reason: reasonOf(verdict), way: 'whole' };
  }
  const request = { method: 'CONNECT', path: '' };
  const asked = verdictOf(matcher, { ...question, request }, guard);
  if (isExplicitDeny(asked)) return { ...asked, reason: reasonOf(asked), way: 'closed' };
  return { ...verdict, action: 'allow', reason: null, way: 'by-request' };
}

/** A request is allowed when it is in every reading, and denied when it is in one. */
function judgeRequest(
  matcher: Matcher,
  question: Question,
  guard: AddressGuard,
  { method, target }: AskedRequest,
): TargetVerdict {
  const readings = readingsOf(target);
  if (typeof readings === 'string') {
    const none = verdictOf(matcher, question, guard);
    return {
      ...none,
      action: 'deny',
      kind: 'implicit',
      rule: null,
      source: null,
      reason: readings,
    };
  }
  const verdicts = spellingsOf(method)
    .flatMap((one) => readings.map((path) => ({ method: one, path })))
    .map((request) => verdictOf(matcher, { ...question, request }, guard));
  const [first] = verdicts;
  const denied = verdicts.filter(({ action }) => action === 'deny');
  const verdict = denied.find(isExplicitDeny) ?? denied[0] ?? first;
  if (verdict === undefined) throw new TypeError('a path has one reading at least');
  return { ...verdict, reason: reasonOf(verdict) };
}

/** `delete` is another method than DELETE (RFC 9110 section 9.1), yet many servers take it for that. */
function spellingsOf(method: string): readonly string[] {
  const upper = method.toUpperCase();
  return method === upper ? [method] : [method, upper];
}

function verdictOf(matcher: Matcher, question: Question, guard: AddressGuard): Verdict {
  const { host } = question;
  if (host === LOCALHOST) return localhostVerdict(matcher, question);
  if (!isAddress(host)) return matcher.match(question);
  return addressVerdict(matcher, question, host, needsNaming(classify(host), guard));
}

/**
 * The name of the host machine's loopback is opened by a rule for `localhost:PORT` alone. It leads to
 * two addresses: a deny on either closes it.
 */
function localhostVerdict(matcher: Matcher, question: Question): Verdict {
  const named = nameVerdict(matcher, question);
  let { http } = named;
  for (const host of LOOPBACK) {
    const verdict = matcher.match({ ...question, host, namedOnly: true });
    if (isExplicitDeny(verdict) && !isExplicitDeny(named)) return verdict;
    http ||= verdict.http;
  }
  return { ...named, http };
}

/** `localhost` as a name. A deny of `*.docker.internal` closes it: sandboxes call it that, too. */
function nameVerdict(matcher: Matcher, question: Question): Verdict {
  const named = matcher.match({ ...question, host: LOCALHOST, namedOnly: true });
  if (isExplicitDeny(named)) return named;
  const alias = matcher.match({ ...question, host: LOCALHOST_ALIAS, namedOnly: true });
  return isExplicitDeny(alias) ? alias : { ...named, http: named.http || alias.http };
}

/**
 * An address is judged as itself. Where it is this machine it has to be named under either guard, and a
 * deny on `localhost` closes it too; the loopback addresses proper are also opened by `localhost:PORT`.
 */
function addressVerdict(
  matcher: Matcher,
  question: Question,
  address: Address,
  namedOnly: boolean,
): Verdict {
  const isOurs = isThisMachine(address);
  const asked = { ...question, host: address, namedOnly: namedOnly || isOurs };
  const verdict = matcher.match(asked);
  if (isExplicitDeny(verdict) || !isOurs) return verdict;
  const named = nameVerdict(matcher, question);
  if (isExplicitDeny(named)) return named;
  const http = verdict.http || named.http;
  const isProper = LOOPBACK.includes(address);
  return { ...(isProper && verdict.action === 'deny' ? named : verdict), http };
}

export function isExplicitDeny({ action, kind }: Pick<Verdict, 'action' | 'kind'>): boolean {
  return action === 'deny' && kind === 'explicit';
}

/** All of 127.0.0.0/8 leads here, and so do the unspecified addresses on Linux. */
function isThisMachine(address: Address): boolean {
  const kind = classify(address);
  return kind === 'loopback' || kind === 'unspecified';
}

/**
 * Judges the addresses that an allowed name leads to. Every one is looked at: a deny rule that
 * covers it refuses it, and a special-use one needs a rule of its own.
 */
export function judgeAddresses(
  matcher: Matcher,
  question: Question,
  addresses: readonly Address[],
  guard: AddressGuard,
): AddressVerdict {
  const checked: Address[] = [];
  const refused: RefusedAddress[] = [];
  for (const address of addresses) {
    const refusal = question.host === address ? null : refusalOf(matcher, question, address, guard);
    if (refusal === null) checked.push(address);
    else refused.push(refusal);
  }
  return { checked, refused };
}

function refusalOf(
  matcher: Matcher,
  question: Question,
  address: Address,
  guard: AddressGuard,
): RefusedAddress | null {
  const verdict = addressVerdict(matcher, question, address, true);
  if (verdict.action === 'allow') return null;
  // What allowed localhost has named its addresses, be it for one request alone.
  const isNamed = question.host === LOCALHOST && LOOPBACK.includes(address);
  if (isNamed && !isExplicitDeny(verdict)) return null;
  const kind = classify(address);
  const refused = { address, class: kind, rule: verdict.rule, source: verdict.source };
  if (verdict.rule !== null) {
    return { ...refused, reason: `an address that rule ${verdict.rule} denies` };
  }
  if (!needsNaming(kind, guard)) return null;
  return { ...refused, reason: `${articleOf(kind)} ${kind} address` };
}

function articleOf(word: string): string {
  return /^[aeiou]/.test(word) ? 'an' : 'a';
}

/** Special-use classes that need a rule of their own even under Docker's looser guard. */
const ALWAYS_NAMED: ReadonlySet<AddressClass> = new Set([
  'metadata',
  'unspecified',
  // These carry an IPv4 address within, which may be any of the others.
  'nat64',
  '6to4',
  'teredo',
  'v4-compatible',
  'v4-translated',
]);

/** Whether an address of this class must be named by a rule before it can be dialled. */
function needsNaming(kind: AddressClass, guard: AddressGuard): boolean {
  return kind !== 'public' && (guard === 'strict' || ALWAYS_NAMED.has(kind));
}
