// Phase 5 of 5 for plain HTTP: one request upstream, one response back, streamed both ways at the
// slower side's pace. Nothing is buffered beyond what the sockets hold.
import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { type Code, SallyportError } from '../base/errors.ts';
import type { Scrubbing } from '../credentials/mask.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { Permit } from './decide.ts';
import type { Received } from './exchange.ts';
import { forwardResponseFields, forwardTrailers } from './fields.ts';
import type { Entry } from './record.ts';
import { Scrubber, searchable } from './scrub.ts';
import { isAlert } from './secure.ts';
import { bridge, type Passage, splice, type Tick } from './tunnel.ts';
import type { Upstream, Upstreams } from './upstreams.ts';

/** RFC 9110 section 9.2.2; only these are sent again when a kept connection turns out closed. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export type Relayed = {
  readonly permit: Permit;
  readonly received: Received;
  /** Request fields as they go upstream, flat. */
  readonly fields: string[];
  /** The request's content as it goes upstream. */
  readonly content: Received['content'];
  /** Path and query as they go upstream. */
  readonly path: string;
  /** Which way: without TLS for plain HTTP, else over TLS, with HTTP/2 where both sides speak it. */
  readonly over: 'tcp' | 'tls' | 'tls-http2';
  readonly upstreams: Upstreams;
  readonly entry: Entry;
  readonly tick: Tick;
  readonly passage: Passage;
  /** Add ourselves to Via. */
  readonly via: boolean;
  /** What must not come back in the answer. */
  readonly scrubbing: Scrubbing | null;
};

/**
 * Relays one exchange.
 *
 * @returns when the response has been handed to the client's socket whole, or the upgraded
 *   connection has ended.
 * @throws SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT, SALLYPORT_UPSTREAM_MALFORMED,
 *   or what was wrong with the client's own content.
 */
export async function relay(work: Relayed): Promise<void> {
  try {
    await attempt(work);
  } catch (error) {
    if (!mayRetry(work, error)) throw explained(work.permit, error);
    await attempt(work).catch((again: unknown) => {
      throw explained(work.permit, again);
    });
  }
}

async function attempt(work: Relayed): Promise<void> {
  const { received, permit, fields, path, content, entry, scrubbing } = work;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Asked for anew by each attempt: the connection that failed may have been its pool's last.
  const upstream = work.over === 'tcp' ? work.upstreams.towards(permit) : await secure(work);
  entry.draft.address = upstream.address;
  // All that came with it is read first: a client that takes requests back in the same breath would
  // have us open a connection for each (CVE-2023-44487).
  if (received.client.http2) await setImmediate();
  if (received.client.gone) throw clientClosed();
  const { method } = permit.target;
  const masked = (count: number): void => {
    entry.draft.masked += count;
  };
  const handler = new Handler(work, upstream, resolve, reject);
  upstream.dispatcher.dispatch(
    {
      path,
      method: method as Dispatcher.HttpMethod,
      headers: scrubbing === null ? fields : searchable(fields),
      body: content,
      upgrade: received.content === null ? received.head.upgrade : null,
    },
    scrubbing === null ? handler : new Scrubber(handler, method, scrubbing, masked),
  );
  return promise;
}

/** An upgrade is asked for in HTTP/1.1, whatever the client speaks. */
function secure({ upstreams, permit, over, received }: Relayed): Promise<Upstream> {
  return upstreams.secureTowards(permit, over === 'tls-http2' && received.head.upgrade === null);
}

/** undici's view of the exchange, turned into the client's. */
class Handler implements Dispatcher.DispatchHandler {
  readonly #work: Relayed;
  readonly #upstream: Upstream;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;
  #waiting = false; // For the client to take what it was given.

  constructor(
    work: Relayed,
    upstream: Upstream,
    resolve: () => void,
    reject: (error: Error) => void,
  ) {
    this.#work = work;
    this.#upstream = upstream;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** The connection stands, and the request is about to be written. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { received, entry } = this.#work;
    const { client, reply, head } = received;
    const gone = (): void => controller.abort(clientClosed());
    if (client.gone) {
      gone();
      return;
    }
    client.onGone = gone;
    entry.draft.connect_ms = entry.elapsedMs();
    entry.draft.address = this.#upstream.address;
    // Only now is there somebody to take the content (RFC 9110 section 10.1.1).
    if (head.expectContinue && !client.contentDone) reply.interim(100, '');
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _: unknown,
    reason = '',
  ): void {
    const { reply, client, head } = this.#work.received;
    const { text, contentLength } = forwardResponseFields(
      rawOf(controller.rawHeaders),
      this.#work.via ? '1.1' : null,
    );
    if (status < 200) {
      reply.interim(status, text);
      return;
    }
    // RFC 8441 section 5: to a client of HTTP/2 any 2xx says that the WebSocket is open.
    if (client.http2 && head.upgrade !== null && status < 300) {
      throw new SallyportError('SALLYPORT_UPSTREAM_MALFORMED', 'the WebSocket was not opened');
    }
    if (!client.contentDone) reply.closes = true; // Early answer: the rest of the content has no reader.
    reply.start(status, reason, text, contentLength);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { reply, client } = this.#work.received;
    client.touch();
    if (reply.data(chunk) || this.#waiting) return;
    this.#waiting = true;
    controller.pause();
    client.onceDrained(() => {
      this.#waiting = false;
      client.touch();
      controller.resume();
    });
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    const { reply } = this.#work.received;
    const whole = reply.end(forwardTrailers(rawOf(controller.rawTrailers)));
    if (whole) this.#resolve();
    else this.#reject(new Error('the content ended early'));
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const { alert } = this.#upstream;
    const told = alert !== null && isBroken(error);
    this.#reject(told ? Object.assign(new Error(alert, { cause: error }), { code: alert }) : error);
  }

  /** 101: from here on both sides speak something else, and only now may bytes pass blind. */
  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    socket: Socket,
  ): void {
    const { received, passage, tick } = this.#work;
    const { reply, client } = received;
    const raw = rawOf(controller.rawHeaders);
    const { text } = forwardResponseFields(raw, this.#work.via ? '1.1' : null);
    try {
      reply.switchProtocols(`${text}Connection: Upgrade\r\n${upgradeField(raw)}`);
    } catch (error) {
      socket.destroy();
      this.#reject(error as Error);
      return;
    }
    const { transport, early } = client.takeOver();
    const joined =
      transport instanceof Socket
        ? splice(transport, socket, null, early, passage, tick)
        : bridge(transport, socket, passage, tick);
    void joined.then(() => this.#resolve());
  }
}

/** The protocol that the origin chose; the client may have offered several. */
function upgradeField(raw: readonly Buffer[]): string {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.toString('latin1').toLowerCase() === 'upgrade') {
      return `Upgrade: ${raw[i + 1]?.toString('latin1')}\r\n`;
    }
  }
  return '';
}

/** A kept connection that the origin closed just then: nothing of an answer has been seen. */
function mayRetry({ received, permit }: Relayed, error: unknown): boolean {
  return (
    !received.reply.started &&
    received.content === null &&
    received.head.upgrade === null &&
    IDEMPOTENT.has(permit.target.method) &&
    isBroken(error)
  );
}

/** Whether the connection ended, with or without a word of TLS about it. */
function isBroken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE' || isAlert(code);
}

const UPSTREAM_CODES: Readonly<Record<string, Code>> = {
  UND_ERR_HEADERS_TIMEOUT: 'SALLYPORT_UPSTREAM_TIMEOUT',
  UND_ERR_BODY_TIMEOUT: 'SALLYPORT_UPSTREAM_TIMEOUT',
  UND_ERR_CONNECT_TIMEOUT: 'SALLYPORT_UPSTREAM_TIMEOUT',
  UND_ERR_HEADERS_OVERFLOW: 'SALLYPORT_UPSTREAM_MALFORMED',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'SALLYPORT_UPSTREAM_MALFORMED',
};

function explained(permit: Permit, error: unknown): SallyportError {
  if (error instanceof SallyportError) return error;
  const { host, port } = permit.target;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known =
    UPSTREAM_CODES[code] ?? (code.startsWith('HPE_') ? 'SALLYPORT_UPSTREAM_MALFORMED' : undefined);
  return new SallyportError(
    known ?? 'SALLYPORT_UPSTREAM_UNREACHABLE',
    `the exchange with ${formatHostPort(host, port)} failed${code === '' ? '' : `: ${code}`}`,
    { cause: error },
  );
}

/** The client went away; nobody is left to read an answer. */
export function clientClosed(): Error {
  return Object.assign(new Error('the client closed the connection'), { code: 'CLIENT_CLOSED' });
}

function rawOf(raw: unknown): Buffer[] {
  return Array.isArray(raw) ? (raw as Buffer[]) : [];
}
