// The one decision function: enforcement, `policy check` and the log all come through here, over
// whichever matcher they have. First the host as it was named, then each address it leads to.
import { type Address, classify, isAddress } from './address.ts';
import type { Matcher, Question, Verdict } from './decision.ts';
import type { Host } from './host.ts';
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

export type RefusedAddress = { readonly address: Address; readonly reason: string };

export type AddressVerdict = {
  /** May be dialled, in the order given. */
  readonly checked: readonly Address[];
  readonly refused: readonly RefusedAddress[];
};

const LOCALHOST = 'localhost' as Host;
const LOOPBACK = ['127.0.0.1', '::1'] as Address[];

/** Judges the host as it was named, without resolving it. */
export function judgeTarget(
  matcher: Matcher,
  question: Question,
  guard: AddressGuard,
): TargetVerdict {
  const verdict = verdictOf(matcher, question, guard);
  return { ...verdict, reason: reasonOf(verdict) };
}

function verdictOf(matcher: Matcher, question: Question, guard: AddressGuard): Verdict {
  const { host } = question;
  if (host === LOCALHOST) return loopbackVerdict(matcher, question, LOOPBACK);
  if (!isAddress(host)) return matcher.match(question);
  if (LOOPBACK.includes(host)) return loopbackVerdict(matcher, question, [host]);
  return matcher.match({ ...question, namedOnly: needsNaming(host, guard) });
}

/**
 * The host machine's loopback has a name and two addresses; a rule for one speaks for what is the
 * same place. Denies win, whichever spelling they use; an allow must name it.
 */
function loopbackVerdict(
  matcher: Matcher,
  question: Question,
  addresses: readonly Address[],
): Verdict {
  const verdicts = [LOCALHOST, ...addresses].map((host) =>
    matcher.match({ ...question, host, namedOnly: true }),
  );
  const deny = verdicts.find(({ action, kind }) => action === 'deny' && kind === 'explicit');
  const allow = verdicts.find(({ action }) => action === 'allow');
  return deny ?? allow ?? (verdicts[0] as Verdict);
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
    const reason = question.host === address ? null : refusalOf(matcher, question, address, guard);
    if (reason === null) checked.push(address);
    else refused.push({ address, reason });
  }
  return { checked, refused };
}

function refusalOf(
  matcher: Matcher,
  question: Question,
  address: Address,
  guard: AddressGuard,
): string | null {
  const asked = { ...question, host: address, namedOnly: true };
  const verdict = LOOPBACK.includes(address)
    ? loopbackVerdict(matcher, asked, [address])
    : matcher.match(asked);
  if (verdict.action === 'allow') return null;
  if (verdict.kind === 'explicit') {
    return `an address that rule ${verdict.rule} denies`;
  }
  return needsNaming(address, guard) ? `a ${classify(address)} address` : null;
}

/** Which special-use addresses must be named by a rule before they can be dialled. */
function needsNaming(address: Address, guard: AddressGuard): boolean {
  const kind = classify(address);
  if (kind === 'public') return false;
  return guard === 'strict' || kind === 'metadata' || kind === 'unspecified';
}
