// Phase 5 of 5 for plain HTTP: one request upstream, one response back, streamed both ways at the
// slower side's pace. Nothing is buffered beyond what the sockets hold.
import { Readable } from 'node:stream';
import type { Socket } from 'node:net';
import type { Dispatcher, Pool } from 'undici';
import { type Code, SallyportError } from '../base/errors.ts';
import type { Received } from './accept.ts';
import type { Permit } from './decide.ts';
import { forwardResponseFields, forwardTrailers } from './fields.ts';
import { splice, type Passage, type Tick } from './tunnel.ts';

/** RFC 9110 section 9.2.2; only these are sent again when a kept connection turns out closed. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export type Relayed = {
  readonly permit: Permit;
  readonly received: Received;
  /** Request fields as they go upstream, flat. */
  readonly fields: string[];
  readonly pool: Pool;
  readonly tick: Tick;
  readonly passage: Passage;
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

function attempt(work: Relayed): Promise<void> {
  const { received, permit, fields, pool } = work;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const upgrade = received.content === null && received.head.version === 11 ? received.head.upgrade : null;
  const { content } = received;
  if (content instanceof Readable && received.head.expectContinue) {
    Object.assign(content, { onFirstRead: () => received.reply.interim(100, '') });
  }
  pool.dispatch(
    {
      path: permit.target.path,
      method: permit.target.method as Dispatcher.HttpMethod,
      headers: fields,
      body: content,
      ...(upgrade === null ? {} : { upgrade }),
    },
    new Handler(work, resolve, reject),
  );
  return promise;
}

/** undici's view of the exchange, turned into the client's. */
class Handler implements Dispatcher.DispatchHandler {
  readonly #work: Relayed;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;
  #draining = false;

  constructor(work: Relayed, resolve: () => void, reject: (error: Error) => void) {
    this.#work = work;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { connection } = this.#work.received;
    const gone = (): void => controller.abort(clientClosed());
    if (connection.socket.destroyed) gone();
    else connection.onGone = gone;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _: unknown, reason = ''): void {
    const { reply, connection } = this.#work.received;
    const { text, contentLength } = forwardResponseFields(rawOf(controller.rawHeaders));
    if (status < 200) return reply.interim(status, text);
    if (!connection.contentDone) reply.closes = true; // Early answer: the rest of the content has no reader.
    reply.start(status, reason, text, contentLength);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { reply, connection } = this.#work.received;
    connection.sinceMs = this.#work.tick.nowMs;
    if (reply.data(chunk) || this.#draining) return;
    this.#draining = true;
    controller.pause();
    connection.socket.once('drain', () => {
      this.#draining = false;
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
    this.#reject(error);
  }

  /** 101: from here on both sides speak something else, and only now may bytes pass blind. */
  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _: unknown, socket: Socket): void {
    const { received, passage, tick } = this.#work;
    const { reply, connection, head } = received;
    const { text } = forwardResponseFields(rawOf(controller.rawHeaders));
    reply.status = status;
    connection.onGone = null;
    const early = connection.release();
    connection.socket.write(
      `HTTP/1.1 101 Switching Protocols\r\n${text}Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n\r\n`,
      'latin1',
    );
    void splice(connection.socket, socket, null, early, passage, tick).then(() => this.#resolve());
  }
}

/** A kept connection that the origin closed just then: nothing of an answer has been seen. */
function mayRetry({ received, permit }: Relayed, error: unknown): boolean {
  return (
    !received.reply.started &&
    received.content === null &&
    received.head.upgrade === null &&
    IDEMPOTENT.has(permit.target.method) &&
    error instanceof Error &&
    'code' in error &&
    (error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE')
  );
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
  const known = UPSTREAM_CODES[code] ?? (code.startsWith('HPE_') ? 'SALLYPORT_UPSTREAM_MALFORMED' : undefined);
  return new SallyportError(
    known ?? 'SALLYPORT_UPSTREAM_UNREACHABLE',
    `the exchange with ${host}:${port} failed${code === '' ? '' : `: ${code}`}`,
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
