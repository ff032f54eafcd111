// Phase 1 of 5: one client connection. It cuts the byte stream into requests, hands them to the
// pipeline one after the other, and decides when the connection is over. It judges nothing.
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { SallyportError } from '../base/errors.ts';
import { HEAD_BYTES_MAX } from '../base/limits.ts';
import { BodyDecoder } from './body.ts';
import { IncomingContent } from './content.ts';
import type { Client, Inside, Serve } from './exchange.ts';
import { parseRequestHead, type RequestHead } from './head.ts';
import type { Origin } from './identify.ts';
import { Reply } from './reply.ts';
import type { Tick } from './tunnel.ts';

/** idle: between requests. head: a request has begun. exchange: it is served. tunnel: bytes pass. */
export type Phase = 'idle' | 'head' | 'exchange' | 'tunnel';

/** What a worker needs of a connection to end it in time, whichever protocol it speaks. */
export type Held = {
  readonly socket: Socket;
  readonly origin: Origin;
  readonly phase: Phase;
  readonly sinceMs: number;
  readonly draining: boolean;
  /** Finish what is under way, then close. */
  drain(): void;
  /** Silent for too long. */
  expire(): void;
  /** Once a second: what cannot be told from the connection's phase and silence. */
  watch?(): void;
};

const NOTHING = Buffer.alloc(0);
const PENDING_BYTES_MIN = 2_048;

export class Connection implements Client, Held {
  readonly socket: Socket;
  readonly origin: Origin;
  readonly inside: Inside | null;
  readonly http2 = false;
  phase: Phase = 'idle';
  /** When the phase began, or a byte last passed in it; for the sweep of idle connections. */
  sinceMs: number;
  /** Called once when the client goes away during an exchange. */
  onGone: (() => void) | null = null;
  onEnded: (() => void) | null = null;
  /** Finish the present exchange, then close. */
  draining = false;
  readonly #serve: Serve;
  readonly #tick: Tick;
  #pending: Buffer = NOTHING; // Bytes not yet cut into a request; a view with room behind it.
  #own = false; // Whether #pending's memory is ours to write behind its end.
  #scanned = 0; // How far the search for the end of the head has come.
  #decoder: BodyDecoder | null = null;
  #content: IncomingContent | null = null;
  #reply: Reply | null = null; // Of the present exchange.
  #ended = false;
  #lost = false; // The content's framing was broken; what follows is dropped.
  /** Content bytes of the present request that have come, without their framing. */
  contentBytes = 0;

  /** @param inside  the tunnel that this connection runs in; null on the proxy's own port. */
  constructor(
    socket: Socket,
    origin: Origin,
    serve: Serve,
    tick: Tick,
    inside: Inside | null = null,
  ) {
    this.socket = socket;
    this.origin = origin;
    this.inside = inside;
    this.#serve = serve;
    this.#tick = tick;
    this.sinceMs = tick.nowMs;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', () => {}); // 'close' follows and says it all.
    socket.on('close', () => this.#onClose());
  }

  get gone(): boolean {
    return this.socket.destroyed;
  }

  touch(): void {
    this.sinceMs = this.#tick.nowMs;
  }

  onceDrained(callback: () => void): void {
    this.socket.once('drain', callback);
  }

  destroy(): void {
    this.socket.destroy();
  }

  takeOver(): { transport: Socket; early: Buffer } {
    this.phase = 'tunnel';
    this.#reply = null;
    this.onGone = null;
    this.socket.off('data', this.#onData);
    this.socket.off('end', this.#onEnd);
    const early = this.#pending;
    this.#pending = NOTHING;
    return { transport: this.socket, early };
  }

  /** Silent for too long: a head that began is answered 408, anything else just ends. */
  expire(): void {
    if (this.phase === 'head') {
      this.#malformed(
        new SallyportError('SALLYPORT_REQUEST_TIMEOUT', 'the head did not arrive in time'),
      );
    } else {
      this.socket.destroy();
    }
  }

  /** No further requests: ends now when none is under way, else with the present one. */
  drain(): void {
    this.draining = true;
    if (this.phase === 'idle' || this.phase === 'head') this.socket.destroySoon();
    else if (this.#reply !== null && !this.#reply.started) this.#reply.closes = true;
  }

  /** Whether the request's content has been read to its end. */
  get contentDone(): boolean {
    return this.#decoder === null || this.#decoder.done;
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#lost) return;
    let rest = chunk;
    if (this.#decoder !== null && !this.#decoder.done) {
      this.sinceMs = this.#tick.nowMs;
      rest = chunk.subarray(this.#feed(chunk));
      if (rest.length === 0) return;
    }
    this.#append(rest);
    if (this.phase === 'idle' || this.phase === 'head') this.#next();
    else if (this.#pending.length > HEAD_BYTES_MAX) this.socket.pause(); // Pipelined too far ahead.
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    if (this.#content !== null && !this.contentDone) {
      this.#content.destroy(
        new SallyportError('SALLYPORT_REQUEST_MALFORMED', 'the content is incomplete'),
      );
    }
    this.onEnded?.();
    if (this.phase === 'idle' || this.phase === 'head') this.socket.end();
  };

  #onClose(): void {
    const gone = this.onGone;
    this.onGone = null;
    gone?.();
    this.#content?.destroy();
  }

  /** Grows by doubling, so that a head sent byte by byte does not cost its length squared. */
  #append(chunk: Buffer): void {
    const length = this.#pending.length;
    if (length === 0) {
      this.#pending = chunk;
      return;
    }
    const room = this.#pending.buffer.byteLength - this.#pending.byteOffset;
    if (this.#own && room >= length + chunk.length) {
      this.#pending = Buffer.from(
        this.#pending.buffer,
        this.#pending.byteOffset,
        length + chunk.length,
      );
    } else {
      const larger = Buffer.allocUnsafeSlow(
        Math.max(PENDING_BYTES_MIN, 2 * (length + chunk.length)),
      );
      larger.set(this.#pending);
      this.#pending = larger.subarray(0, length + chunk.length);
      this.#own = true;
    }
    this.#pending.set(chunk, length);
  }

  #next(): void {
    let head: RequestHead | null;
    try {
      head = parseRequestHead(this.#pending, 0, this.#pending.length, this.#scanned);
    } catch (error) {
      this.#malformed(error);
      return;
    }
    if (head === null) {
      if (this.phase === 'idle') this.sinceMs = this.#tick.nowMs;
      this.phase = 'head';
      this.#scanned = this.#pending.length;
      return;
    }
    this.#scanned = 0;
    const rest = this.#pending.subarray(head.headBytes);
    this.#pending = NOTHING;
    this.#own = false;
    this.phase = 'exchange';
    this.sinceMs = this.#tick.nowMs;
    const content = this.#beginContent(head, rest);
    const keepAlive = head.keepAlive && !this.draining;
    const reply = new Reply(this.socket, { method: head.method, version: head.version, keepAlive });
    this.#reply = reply;
    void this.#run(this.#serve.request({ client: this, head, content, reply }), reply);
  }

  #beginContent(head: RequestHead, rest: Buffer): Buffer | Readable | null {
    const length = head.chunked ? null : (head.contentLength ?? 0);
    if (length !== null && rest.length >= length) {
      if (rest.length > length) this.#pending = rest.subarray(length);
      this.contentBytes = length;
      return length === 0 ? null : rest.subarray(0, length);
    }
    return this.#streamContent(length, rest);
  }

  #streamContent(length: number | null, rest: Buffer): Buffer | Readable {
    this.#decoder = new BodyDecoder(length === null ? 'chunked' : 'length', length ?? 0);
    const content = new IncomingContent(() => this.socket.resume());
    this.#content = content;
    if (rest.length > 0) {
      const used = this.#feed(rest);
      if (used < rest.length) this.#pending = rest.subarray(used);
    }
    return this.#decoder.done && !content.destroyed ? content.whole() : content;
  }

  /** @returns how many bytes were content. */
  #feed(chunk: Buffer): number {
    const decoder = this.#decoder;
    const content = this.#content;
    if (decoder === null || content === null) return 0;
    try {
      let full = false;
      const used = decoder.push(chunk, 0, chunk.length, (slice: Buffer) => {
        this.contentBytes += slice.length;
        if (!content.add(slice)) full = true;
      });
      if (decoder.done) content.finish();
      else if (full) this.socket.pause();
      return used;
    } catch (error) {
      // Where the next request begins is unknown from here on: nothing more is read as one.
      this.#lost = true;
      content.destroy(error instanceof Error ? error : new Error('bad content'));
      return chunk.length;
    }
  }

  #malformed(error: unknown): void {
    this.phase = 'exchange';
    this.socket.pause();
    const known =
      error instanceof SallyportError
        ? error
        : new SallyportError('SALLYPORT_INTERNAL', 'the head could not be read', { cause: error });
    const reply = new Reply(this.socket, { method: 'GET', version: 11, keepAlive: false });
    void this.#run(this.#serve.malformed(this, reply, known), reply);
  }

  async #run(exchange: Promise<void>, reply: Reply): Promise<void> {
    await exchange;
    this.onGone = null;
    this.#reply = null;
    if (this.phase === 'tunnel' || this.socket.destroyed) return;
    if (reply.closes || !this.contentDone || this.draining) return this.#close();
    this.#decoder = null;
    this.#content = null;
    this.contentBytes = 0;
    // A client that sends requests and reads no answers must not make us hold the answers.
    if (this.socket.writableNeedDrain) this.socket.once('drain', () => this.#between());
    else this.#between();
  }

  /** The exchange is over and the answer is out: on to the next request, here already or not. */
  #between(): void {
    if (this.draining) {
      this.#close();
      return;
    }
    this.phase = 'idle';
    this.sinceMs = this.#tick.nowMs;
    if (this.#pending.length > 0) this.#next();
    this.#await();
  }

  /** Waits for the rest of a request, unless one has begun to be served or none can come. */
  #await(): void {
    if (this.phase === 'exchange') return;
    if (this.#ended) this.#close();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  /** Says the last word and goes; what the client still sends is read and dropped for a moment. */
  #close(): void {
    this.draining = true;
    this.#pending = NOTHING;
    this.socket.off('data', this.#onData);
    this.socket.end(() => {
      // Only now is the last of the answer out, which the client may take slowly.
      this.phase = 'idle';
      this.sinceMs = this.#tick.nowMs;
    });
    this.socket.resume(); // Unread bytes at close would send RST and lose the answer (RFC 9112 section 9.6).
  }
}
