// What sandboxes asked for, summed up from the audit: what `policy suggest` makes rules of.
import { SEEN_MAX } from '../../base/limits.ts';
import type { ScopeTable } from '../../documents/document.ts';
import type { AddressGuard, AskedRequest } from '../../policy/judge.ts';
import { judgeProbe } from '../../policy/probe.ts';
import type { Refused, Seen } from '../../policy/suggest.ts';
import type { Judged } from '../../policy/witness.ts';
import { isOpening, recordedHost } from '../policy/replay.ts';
import type { RecordedExchange } from './read.ts';

export type SeenExchanges = Seen & {
  readonly sandbox: string;
  count: number;
  /** Of the last one. */
  time: string;
};

export type SeenOptions = {
  readonly guard: AddressGuard;
  /** Also what was allowed. */
  readonly allowed: boolean;
  /** Only of this sandbox; null for all. */
  readonly sandbox: string | null;
};

export class SeenTable {
  /** Exchanges without a row, for there were too many kinds. */
  omitted = 0;
  readonly #base: Judged;
  readonly #scopes: ScopeTable;
  readonly #options: SeenOptions;
  readonly #rows = new Map<string, SeenExchanges>();
  /** Of rows that no rule for their name would help. */
  readonly #reasons = new Map<SeenExchanges, string>();
  readonly #byRequest = new Map<string, boolean>();

  /** @param base  the policy that rules are wanted for */
  constructor(base: Judged, scopes: ScopeTable, options: SeenOptions) {
    this.#base = base;
    this.#scopes = scopes;
    this.#options = options;
  }

  get rows(): readonly SeenExchanges[] {
    return [...this.#rows.values()].filter((row) => !this.#reasons.has(row));
  }

  get refused(): readonly Refused<SeenExchanges>[] {
    return [...this.#reasons].map(([seen, why]) => ({ seen, why }));
  }

  add(record: RecordedExchange): void {
    const { sandbox, verdict, code, port, time } = record;
    const host = recordedHost(record.host);
    const isAsked = verdict === 'deny' || (verdict === 'allow' && this.#options.allowed);
    const isOther = this.#options.sandbox !== null && sandbox !== this.#options.sandbox;
    if (!isAsked || isOther || host === null || port === 0 || isOpening(record)) return;
    const place = { scope: this.#scopes.numberOf(sandbox), host, port };
    const request = this.#requestOf(record, place);
    const reason = code === 'SALLYPORT_ADDRESS_FORBIDDEN' ? record.reason : null;
    const name = JSON.stringify([sandbox, host, port, request, reason]);
    const known = this.#rows.get(name);
    if (known !== undefined) {
      known.count++;
      known.time = time;
    } else if (this.#rows.size >= SEEN_MAX) this.omitted++;
    else {
      const row = { ...place, request, sandbox, count: 1, time };
      this.#rows.set(name, row);
      if (reason !== null) this.#reasons.set(row, `${reason}; a rule has to name that address`);
    }
  }

  /** Where only the host decides, requests are all one. */
  #requestOf(
    { method, path }: RecordedExchange,
    place: Pick<Seen, 'scope' | 'host' | 'port'>,
  ): AskedRequest | null {
    if (method === 'CONNECT' || path === null) return null;
    const name = `${place.scope} ${place.host} ${place.port}`;
    let isByRequest = this.#byRequest.get(name);
    if (isByRequest === undefined) {
      if (this.#byRequest.size >= SEEN_MAX) this.#byRequest.clear();
      const probe = { ...place, protocol: 'tcp', request: null, address: null } as const;
      const { action } = judgeProbe(this.#base.matcher, probe, this.#options.guard);
      isByRequest = action === 'open';
      this.#byRequest.set(name, isByRequest);
    }
    return isByRequest ? { method, target: path } : null;
  }
}
