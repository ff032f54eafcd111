// The words that one exchange is told in: what was asked, by whom, and what became of it. Types
// only; each phase of pipeline.ts takes one of these and returns a narrower one.
import type { Duplex, Readable } from 'node:stream';
import type { Code, SallyportError } from '../base/errors.ts';
import type { Address } from '../policy/address.ts';
import type { Verdict } from '../policy/decision.ts';
import type { Host } from '../policy/host.ts';
import type { RequestHead } from './head.ts';
import type { Origin } from './identify.ts';

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

/** The intercepted tunnel that a request came through: what CONNECT named, and whose it is. */
export type Inside = {
  readonly host: Host | Address;
  readonly port: number;
  /** Judged anew for each request; the name is looked up again, since a sandbox may be removed. */
  readonly sandbox: string;
  /** What a person said when the tunnel was asked for; null: nobody was asked. */
  readonly approval: Approval | null;
};

/**
 * What became of a question to a person. off: nobody is asked. rule: one allows it now. once: this
 * connection alone is allowed, with all that passes in it.
 */
export type Approval = 'off' | 'refused' | 'rule' | 'once';

/** The client's side of one exchange, whichever protocol it speaks. */
export type Client = {
  readonly origin: Origin;
  /** null on the proxy's own port. */
  readonly inside: Inside | null;
  /** Whether it speaks HTTP/2; else HTTP/1. */
  readonly http2: boolean;
  /** Called once when the client goes away during the exchange. */
  onGone: (() => void) | null;
  /** Called once when the client ends its side of the connection; it may still read. */
  onEnded: (() => void) | null;
  readonly gone: boolean;
  /** Whether the request's content has been read to its end. */
  readonly contentDone: boolean;
  /** Content bytes of the request that have come, without their framing. */
  readonly contentBytes: number;
  /** A byte has passed; it is not idle. */
  touch(): void;
  /** Calls back when the client has taken what was written to it. */
  onceDrained(callback: () => void): void;
  /** Ends it without an answer. */
  destroy(): void;
  /** Hands the transport over to a tunnel, with the bytes that came behind the head. */
  takeOver(): { readonly transport: Duplex; readonly early: Buffer };
};

/** A request whose head is complete, with what its exchange needs. */
export type Received = {
  readonly client: Client;
  readonly head: RequestHead;
  /** All of it when it came with the head, else a stream; null when there is none. */
  readonly content: Buffer | Readable | null;
  readonly reply: Answer;
};

/** The pipeline, as those see it who bring requests. Must not reject. */
export type Serve = {
  request(received: Received): Promise<void>;
  /** A head that cannot be read; answered, recorded, and the connection ends. */
  malformed(client: Client, reply: Answer, error: SallyportError): Promise<void>;
};

/** The answer of one exchange on its way to the client: interim responses, head, content, trailers. */
export type Answer = {
  /** Status of the final response; 0 until it has begun. */
  status: number;
  readonly started: boolean;
  /** Content bytes written. */
  readonly bytes: number;
  /** Whether the connection ends with this answer. */
  closes: boolean;
  /** An interim response (RFC 9110 section 15.2). @param fields  lines, each with CRLF */
  interim(status: number, fields: string): void;
  /**
   * Begins the final response.
   *
   * @param fields         serialised field lines, each with CRLF, without framing fields.
   * @param contentLength  octets to come, or null when unknown.
   */
  start(status: number, reason: string, fields: string, contentLength: number | null): void;
  /** @returns false when the client is slower than the source; wait for onceDrained. */
  data(chunk: Buffer): boolean;
  /** Ends the response. @returns false when content is missing */
  end(trailers: string): boolean;
  /** Ends it so that the client sees the answer is not whole. */
  cut(): void;
  /** Says yes to an upgrade (RFC 9110 section 7.8); bytes pass blind from here on. @param fields  lines, with Upgrade */
  switchProtocols(fields: string): void;
};

/** Who is asking. `scope` is what the matcher knows the sandbox by. */
export type Sandbox = {
  readonly name: string;
  readonly scope: number;
  /** Where its refused CONNECTs are told; null: as the settings say. */
  readonly deny: 'inside' | 'connect' | null;
};

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
  /** Without its query, up to AUDIT_PATH_BYTES_MAX; null for CONNECT and for what cannot be read. */
  readonly path: string | null;
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
  /** The resource of the bypass list that kept a tunnel from being looked into; null when none did. */
  readonly bypass: string | null;
  /** Ids of the secrets that were injected, comma list; null when none was. */
  readonly injected: string | null;
  /** How often a secret came back in the answer, and was masked. */
  readonly masked: number;
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
  /** Whether what no rule covers is put before a person. */
  readonly approvals: boolean;
  readonly addressGuard: 'strict' | 'docker';
  readonly via: boolean;
  readonly forwardedFor: boolean;
  /** Where a refused CONNECT is told: by its status, or inside TLS by those who trust our authority. */
  readonly deny: 'inside' | 'connect';
  /**
   * The resource by which a host is never intercepted, whatever is bound to it: the client pins a
   * certificate, or shows one. Null for a host that may be.
   */
  readonly bypassOf: (host: Host | Address, port: number) => string | null;
  /** What the certificate is called that the proxy presents there, when asked; null: it has none. */
  readonly certificateFor: (host: Host | Address, port: number) => string | null;
  /** For people whom an organisation's policy refuses; null: nothing to say. */
  readonly supportMessage: string | null;
  /** Whether this address and port is the proxy's own or the control API's. */
  readonly isOwn: (address: Address, port: number) => boolean;
};
