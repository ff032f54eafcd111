// The words that one exchange is told in: what was asked, by whom, and what became of it. Types
// only; each phase of pipeline.ts takes one of these and returns a narrower one.
import type { Code } from '../base/errors.ts';
import type { Address } from '../policy/address.ts';
import type { Verdict } from '../policy/decision.ts';
import type { Host } from '../policy/host.ts';

/** How the request reached the proxy. Later: transparent, socks. */
export type Ingress = 'forward' | 'connect';

/** The PROXY column of `policy log`: whether the proxy could have spoken inside. */
export type Mode = 'forward' | 'forward-bypass';

/** What the client asked for, before anybody has judged it. */
export type Target = {
  /** A name or an address in normal form; `localhost` for every spelling of the host's loopback. */
  readonly host: Host | Address;
  readonly port: number;
  /** RFC 9110 section 9 method. */
  readonly method: string;
  /** RFC 9112 section 3.2 path and query as they go upstream, or '' for CONNECT. */
  readonly path: string;
};

/** Who is asking. `scope` is what the matcher knows the sandbox by. */
export type Sandbox = { readonly name: string; readonly scope: number };

/**
 * What became of one exchange; exactly one audit record. Field names are those of the audit file
 * and of the messages between threads.
 */
export type Outcome = {
  /** In-flight slot of the worker, freed by the daemon when it has the record. */
  readonly slot: number;
  /** Start, milliseconds since the Unix epoch. */
  readonly time_ms: number;
  /** '' when nobody could be identified. */
  readonly sandbox: string;
  readonly ingress: Ingress;
  readonly mode: Mode;
  readonly method: string;
  readonly host: string;
  readonly port: number;
  /** The address dialled, or null when nothing was. */
  readonly address: string | null;
  /** none: the exchange ended before the policy was asked. */
  readonly verdict: 'allow' | 'deny' | 'none';
  readonly deny_kind: Verdict['kind'] | null;
  readonly rule: string | null;
  readonly source: Verdict['source'];
  /** In words, for people: why it was refused or how it failed; null when all went well. */
  readonly reason: string | null;
  /** The code of base/errors.ts that the client or the log was given; null when all went well. */
  readonly code: Code | 'SALLYPORT_INTERRUPTED' | 'SALLYPORT_CLIENT_CLOSED' | null;
  /** Status sent to the client; 0 when none was. */
  readonly status: number;
  /** Content bytes from the client, and to it. */
  readonly bytes_up: number;
  readonly bytes_down: number;
  /** From the request's last head byte to the permit, to the connection, to the end. */
  readonly decide_ms: number;
  readonly connect_ms: number;
  readonly duration_ms: number;
  readonly generation: number;
};

/** Where a worker keeps what it is doing (workers/inflight.ts), as the proxy sees it. */
export type Slots = {
  /** @returns a slot, or -1 when all are taken. */
  take(timeMs: number, ingress: Ingress, method: string, host: string, port: number): number;
  name(slot: number, sandbox: string): void;
};

/** What the proxy does by configuration. */
export type ProxySettings = {
  readonly addressGuard: 'strict' | 'docker';
  readonly via: boolean;
  readonly forwardedFor: boolean;
  /** Whether this address and port is the proxy's own or the control API's. */
  readonly isOwn: (address: Address, port: number) => boolean;
};
