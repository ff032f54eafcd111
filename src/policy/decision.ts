import type { Address } from './address.ts';
import type { Host } from './host.ts';
import type { Protocol, Source } from './rule.ts';

/**
 * What the matcher is asked: may `scope` open a connection to this host and port?
 *
 * `host` holds either a name or an address, both in normal form. Method, path, query and binary
 * are carried for rules that constrain them; network rules ignore them.
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
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly binary?: string;
};

/** The matcher's answer. */
export type Verdict = {
  readonly action: 'allow' | 'deny';
  /** explicit: a rule matched. implicit: none did, so the answer is deny. */
  readonly kind: 'explicit' | 'implicit';
  /** The id of the deciding rule; null when implicit. Of several, the first in the rule list. */
  readonly rule: string | null;
  readonly source: Source | null;
  /** Which published policy gave the answer; grows by one at each change. */
  readonly generation: number;
};

/** One decision function, whoever asks: a worker's lane, the daemon's lane, or the reference. */
export type Matcher = { match(question: Question): Verdict };
