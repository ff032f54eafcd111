// Recorded exchanges under another policy: which would be decided otherwise. Only what is on record
// can be judged again; where something is missing, that is said instead of guessed.
import { REPLAY_ROWS_MAX } from '../../base/limits.ts';
import type { ScopeTable } from '../../documents/document.ts';
import { type Address, isAddress, parseAddress } from '../../policy/address.ts';
import type { Matcher } from '../../policy/decision.ts';
import { type Host, parseHost } from '../../policy/host.ts';
import type { AddressGuard } from '../../policy/judge.ts';
import { type Judgement, judgeProbe, type Probe } from '../../policy/probe.ts';
import { formatHostPort } from '../../policy/resource.ts';
import type { RecordedExchange } from '../audit/read.ts';

/** Exchanges of one kind that would be decided otherwise, or of which that cannot be said. */
export type ReplayRow = {
  readonly sandbox: string;
  /** host:port */
  readonly target: string;
  readonly method: string;
  /** Of the first of them. */
  readonly path: string | null;
  readonly before: 'allow' | 'deny';
  readonly after: 'allow' | 'deny' | null;
  readonly rule_before: string | null;
  readonly rule_after: string | null;
  /** Why it would be denied, or cannot be judged. */
  readonly reason: string | null;
  readonly first_seq: number;
  count: number;
};

export type ReplayCounts = {
  replayed: number;
  newly_denied: number;
  newly_allowed: number;
  undecided: number;
  /** They ended before they were judged, or only opened what others are about. */
  passed_over: number;
};

const CUT = '\u2026';

export class Replay {
  readonly counts: ReplayCounts = {
    replayed: 0,
    newly_denied: 0,
    newly_allowed: 0,
    undecided: 0,
    passed_over: 0,
  };
  /** Exchanges without a row, for there were too many kinds. */
  omitted = 0;
  readonly #rows = new Map<string, ReplayRow>();
  readonly #matcher: Matcher;
  readonly #scopes: ScopeTable;
  readonly #guard: AddressGuard;

  constructor(matcher: Matcher, scopes: ScopeTable, guard: AddressGuard) {
    this.#matcher = matcher;
    this.#scopes = scopes;
    this.#guard = guard;
  }

  get rows(): readonly ReplayRow[] {
    return [...this.#rows.values()];
  }

  add(record: RecordedExchange): void {
    const probe = isOpening(record) ? null : this.#probeOf(record);
    if (probe === null || record.verdict === 'none') {
      this.counts.passed_over++;
      return;
    }
    this.counts.replayed++;
    const judged = judgeProbe(this.#matcher, probe, this.#guard);
    const missing = missingOf(record, probe, judged, () => this.#isByRequest(probe));
    if (missing !== null) {
      this.counts.undecided++;
      this.#keep(record, null, { ...judged, reason: missing });
    } else if (judged.action !== record.verdict && judged.action !== 'open') {
      this.counts[judged.action === 'deny' ? 'newly_denied' : 'newly_allowed']++;
      this.#keep(record, judged.action, judged);
    }
  }

  /** Whether HTTP rules have a say about the host. */
  #isByRequest(probe: Probe): boolean {
    const { action } = judgeProbe(this.#matcher, { ...probe, request: null }, this.#guard);
    return action === 'open';
  }

  #probeOf(record: RecordedExchange): Probe | null {
    const host = recordedHost(record.host);
    if (host === null || record.port === 0 || record.method === '') return null;
    const { method, path } = record;
    return {
      scope: this.#scopes.numberOf(record.sandbox),
      protocol: 'tcp',
      host,
      port: record.port,
      request: method === 'CONNECT' || path === null ? null : { method, target: path },
      address: record.address === null ? null : parseAddress(record.address),
    };
  }

  #keep(record: RecordedExchange, after: ReplayRow['after'], judged: Judgement): void {
    const { sandbox, host, port, method, path, seq, rule } = record;
    const target = formatHostPort(host, port);
    const { rule: ruleAfter, reason } = judged;
    const name = JSON.stringify([sandbox, target, method, after, rule, ruleAfter, reason]);
    const known = this.#rows.get(name);
    if (known !== undefined) known.count++;
    else if (this.#rows.size >= REPLAY_ROWS_MAX) this.omitted++;
    else {
      const before = record.verdict === 'deny' ? 'deny' : 'allow';
      const rules = { rule_before: rule, rule_after: ruleAfter };
      const row = { sandbox, target, method, path, before, after, ...rules, reason } as const;
      this.#rows.set(name, { ...row, first_seq: seq, count: 1 });
    }
  }
}

/** What is missing of an exchange to judge it again, in words; null when nothing is. */
function missingOf(
  { verdict, code, path }: RecordedExchange,
  { host }: Probe,
  { action }: Judgement,
  isByRequest: () => boolean,
): string | null {
  if (action === 'open') return 'HTTP rules cover it, and its requests were not seen';
  if (path?.endsWith(CUT) && isByRequest()) return 'HTTP rules cover it, and its path was cut';
  const isByAddress = verdict === 'deny' && code === 'SALLYPORT_ADDRESS_FORBIDDEN';
  if (action !== 'allow' || !isByAddress || isAddress(host)) return null;
  return 'it was refused for where its name led, which is not on record';
}

/** Of a tunnel that was intercepted; the requests inside have records of their own. */
export function isOpening({ method, mode, code }: RecordedExchange): boolean {
  return method === 'CONNECT' && mode === 'forward' && code === null;
}

/** @returns null for what is no host */
export function recordedHost(text: string): Host | Address | null {
  try {
    return parseAddress(text) ?? parseHost(text);
  } catch {
    return null;
  }
}
