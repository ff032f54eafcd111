import type { Address } from './address.ts';
import type { Host } from './host.ts';
import type { HttpRequest } from './http.ts';
import type { Protocol, Source } from './rule.ts';

/**
 * What the matcher is asked: may `scope` open a connection to this host and port?
 *
 * `host` holds either a name or an address, both in normal form.
 */
export type Question = {
  /** GLOBAL_SCOPE (only global rules apply) or a sandbox's number (global and its own apply). */
  readonly scope: number;
  readonly host: Host | Address;
  /** 1..65535 */
  readonly port: number;
  readonly protocol: Protocol;
  /**
   * true: an allow counts only if it names the host itself (exact `localhost`, an address, a CIDR
   * range); wildcards and `**` do not count. Denies always count. For special-use addresses.
   */
  readonly namedOnly?: boolean;
  /** A request inside the connection; without one, HTTP rules only say that they are there. */
  readonly request?: HttpRequest;
};

/** The matcher's answer. */
export type Verdict = {
  readonly action: 'allow' | 'deny';
  /** explicit: a rule matched. implicit: none did, so the answer is deny. */
  readonly kind: 'explicit' | 'implicit';
  /** The id of the deciding rule; null when implicit. Of several, the first in the rule list. */
  readonly rule: string | null;
  readonly source: Source | null;
  /** Whether HTTP rules cover the host: then each request has to be judged, and nothing passes unseen. */
  readonly http: boolean;
  /** Which published policy gave the answer; grows by one at each change. */
  readonly generation: number;
};

/** One decision function, whoever asks: a worker's lane, the daemon's lane, or the reference. */
export type Matcher = { match(question: Question): Verdict };
