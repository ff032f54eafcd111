// Which entries of `policy log` somebody wants to see, as sums or live.
import { resourceMatches } from '../../policy/reference.ts';
import { parseResources, splitPort } from '../../policy/resource.ts';

export type LogType = 'network' | 'filesystem';

/** What is absent lets all pass. */
export type LogFilter = {
  readonly sandbox?: string | undefined;
  readonly type?: LogType | 'all' | undefined;
  readonly decision?: 'allow' | 'deny' | undefined;
  /** Resources, in the grammar of rules. */
  readonly host?: string | undefined;
  /** Id of a rule, with or without its source; `default-deny` for what no rule decided. */
  readonly rule?: string | undefined;
  /** Seen since, milliseconds since the Unix epoch. */
  readonly sinceMs?: number | undefined;
};

/** What of an entry is looked at. */
export type LogFacts = {
  readonly sandbox: string;
  readonly type: LogType;
  readonly decision: 'allow' | 'deny';
  /** host:port, or a path. */
  readonly host: string;
  /** In the words of the RULE column. */
  readonly rule: string;
  readonly lastMs: number;
};

/** @throws SALLYPORT_POLICY_INVALID for hosts that no rule could name */
export function passes(filter: LogFilter): (facts: LogFacts) => boolean {
  const { sandbox, type = 'all', decision, host, rule, sinceMs = 0 } = filter;
  const isHost = host === undefined ? () => true : hostsOf(host);
  const isRule = rule === undefined ? () => true : rulesOf(rule);
  return (facts) =>
    (sandbox === undefined || sandbox === facts.sandbox) &&
    (type === 'all' || type === facts.type) &&
    (decision === undefined || decision === facts.decision) &&
    facts.lastMs >= sinceMs &&
    isHost(facts) &&
    isRule(facts);
}

function hostsOf(text: string): (facts: LogFacts) => boolean {
  const resources = parseResources(text);
  return ({ host: place, type }) => {
    if (type !== 'network') return false;
    const { host, port } = splitPort(place);
    const bare = host.replace(/^\[(.*)\]$/, '$1');
    return resources.some((resource) => resourceMatches(resource, bare, Number(port)));
  };
}

const UNDECIDED = 'default-deny';
const DENIED = /^denied: rule "(.*?)" matched /;
const NO_RULE = /^(no applicable policies for |$)/;

function rulesOf(wanted: string): (facts: LogFacts) => boolean {
  if (wanted === UNDECIDED)
    return ({ rule, decision }) => decision === 'deny' && NO_RULE.test(rule);
  return ({ rule }) => idsIn(rule).some((id) => bare(id) === bare(wanted));
}

function idsIn(rule: string): string[] {
  if (NO_RULE.test(rule)) return [];
  return (DENIED.exec(rule)?.[1] ?? rule).split(', ');
}

function bare(id: string): string {
  return id.replace(/^(local|kit|org):/, '');
}
