// Why a target is allowed or denied: every rule that had a say, which of them decided, and the nearest
// ones where none did. The verdict is that of judge.ts over the rules collected here; a property test
// holds it against the whole policy.
import { classify, isAddress } from './address.ts';
import type { Question } from './decision.ts';
import { LOCALHOST, LOCALHOST_ALIAS } from './host.ts';
import type { PathCovered } from './http.ts';
import {
  type AddressGuard,
  type AskedRequest,
  isExplicitDeny,
  judgeTarget,
  type TargetVerdict,
} from './judge.ts';
import { readingsOf } from './path.ts';
import { referenceMatcher, resourceMatches } from './reference.ts';
import { formatHostPort, type Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';

/** What is asked about. */
export type Asked = {
  readonly question: Question;
  readonly guard: AddressGuard;
  readonly request?: AskedRequest | undefined;
  /** One that remembers: the same rules are asked about the same paths for each thing that is told. */
  readonly covered?: PathCovered;
};

/**
 * decides: the rule that the verdict names. agrees: it says the same. overruled: an allow under a deny.
 * other-request: it is for other methods or paths. unnamed: it sweeps in what has to be named.
 */
export type Standing = 'decides' | 'agrees' | 'overruled' | 'other-request' | 'unnamed';

export type Considered = {
  readonly rule: Rule;
  /** That of its resources which covers the target. */
  readonly resource: Resource;
  readonly standing: Standing;
  readonly why: string;
};

export type Explanation = {
  readonly verdict: TargetVerdict;
  /** One sentence. */
  readonly why: string;
  /** In the order of the rule list, but the one that decides first. */
  readonly considered: readonly Considered[];
};

const LOOPBACK: readonly string[] = [LOCALHOST_ALIAS, '127.0.0.1', '::1'];

/** The resource by which a rule has a say about a host and port, or null when it has none. */
export function touches(rule: Rule, { scope, protocol, host, port }: Question): Resource | null {
  if (rule.scope !== GLOBAL_SCOPE && rule.scope !== scope) return null;
  if (!rule.protocols.includes(protocol)) return null;
  const names = namesOf(host);
  const found = rule.resources.find((one) =>
    names.some((name) => resourceMatches(one, name, port)),
  );
  return found ?? null;
}

/** The spellings under which judge.ts asks for a host: this machine has several. */
function namesOf(host: Question['host']): readonly string[] {
  if (host === LOCALHOST) return [host, ...LOOPBACK];
  if (!isAddress(host)) return [host];
  const kind = classify(host);
  return kind === 'loopback' || kind === 'unspecified'
    ? [host, LOCALHOST, LOCALHOST_ALIAS]
    : [host];
}

/**
 * @param touching  all rules that touch the question, in list order.
 * @param listedMax  how many of them are described.
 */
export function explain(touching: readonly Rule[], asked: Asked, listedMax: number): Explanation {
  const verdict = judgeBy(touching, asked);
  const winner = touching.filter(({ id }) => id === verdict.rule);
  const others = touching.filter(({ id }) => id !== verdict.rule);
  const listed = [...winner, ...others].slice(0, listedMax);
  const considered = listed.flatMap((rule): Considered[] => {
    const resource = touches(rule, asked.question);
    return resource === null ? [] : [{ rule, resource, ...standingOf(rule, verdict, asked) }];
  });
  return { verdict, why: whyOf(verdict, considered, asked), considered };
}

/** What a policy of these rules says. */
export function judgeBy(
  rules: readonly Rule[],
  { question, guard, request, covered }: Asked,
): TargetVerdict {
  return judgeTarget(referenceMatcher(rules, 1, covered), question, guard, request);
}

/** What a rule would say if it were the only one tells what it says beside others. */
function standingOf(
  rule: Rule,
  verdict: TargetVerdict,
  asked: Asked,
): { readonly standing: Standing; readonly why: string } {
  const alone = judgeBy([rule], asked);
  const decides = rule.id === verdict.rule;
  if (isExplicitDeny(alone)) {
    return decides
      ? { standing: 'decides', why: 'it denies, and deny wins, whatever allows it' }
      : { standing: 'agrees', why: 'it denies too' };
  }
  if (decides) return { standing: 'decides', why: 'it allows, and no rule denies' };
  if (alone.action === 'allow' && alone.kind === 'explicit') {
    return verdict.action === 'allow'
      ? { standing: 'agrees', why: 'it allows too; the first in the list is named' }
      : { standing: 'overruled', why: overruledBy(verdict) };
  }
  if (rule.http !== undefined) return { standing: 'other-request', why: otherRequest(rule, asked) };
  return { standing: 'unnamed', why: unnamedWhy(asked.question) };
}

function overruledBy({ rule, reason }: TargetVerdict): string {
  return rule === null ? `it allows, but ${reason}` : `it allows, but rule ${rule} denies`;
}

function otherRequest({ decision, http }: Rule, { request }: Asked): string {
  const methods = http === undefined || http.methods.length === 0 ? 'ANY' : http.methods.join(',');
  const only = `it ${decision === 'allow' ? 'allows' : 'denies'} ${methods} ${http?.paths.join(', ')} only`;
  if (request?.method === 'CONNECT') return `${only}, of requests inside the tunnel`;
  if (request === undefined) return `${only}; ask about one request with a URL and --method`;
  const readings = readingsOf(request.target);
  if (typeof readings === 'string') return `${only}, and ${readings}`;
  return readings.length > 1 && decision === 'allow'
    ? `${only}; a server may read the path as ${readings.join(' or ')}, and all have to be allowed`
    : only;
}

function unnamedWhy({ host }: Question): string {
  if (host === LOCALHOST) return 'it does not name localhost, and only localhost:PORT opens it';
  const kind = isAddress(host) ? classify(host) : 'special';
  return `it covers ${host}, but a ${kind} address has to be named by its address or a range`;
}

const OPENS = 'HTTP rules cover it: the tunnel opens, and each request inside is judged';

function whyOf(
  { action, kind, rule, source, reason }: TargetVerdict,
  considered: readonly Considered[],
  { question }: Asked,
): string {
  const place = formatHostPort(question.host, question.port);
  const first = considered.find(({ rule: { id } }) => id === rule);
  const by = `${source ?? 'local'} rule ${rule} (${first?.resource.text})`;
  if (action === 'allow' && rule === null) return OPENS;
  if (action === 'allow') return `${by} allows ${place}, and no rule denies it`;
  if (kind === 'explicit') {
    const overruled = considered.some(({ standing }) => standing === 'overruled');
    return `${by} denies ${place}${overruled ? '; deny wins over what allows it' : ''}`;
  }
  if (considered.length === 0) return `no rule covers ${place}, and what no rule allows is denied`;
  if (considered.every(({ standing }) => standing === 'unnamed')) {
    return `no rule names ${place}, and what is special has to be named`;
  }
  return `no rule allows it: ${reason}`;
}
