// Phase 1 of 5 for HTTP/2: one client connection inside an intercepted tunnel. Each stream is one
// request for the pipeline. What a client can do with frames alone is bounded here (RFC 9113 section
// 10.5): a connection that abuses them is ended with GOAWAY.
import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex, Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import {
  EXCHANGE_IDLE_TIMEOUT_MS,
  FIELDS_MAX,
  HEAD_BYTES_MAX,
  HTTP2_CONTROLS_PER_SECOND_MAX,
  HTTP2_INVALID_FRAMES_MAX,
  HTTP2_PINGS_MAX,
  HTTP2_RESETS_BURST_MAX,
  HTTP2_RESETS_PER_SECOND_MAX,
  HTTP2_SESSION_BYTES_MAX,
  HTTP2_SETTINGS_ENTRIES_MAX,
  HTTP2_STREAMS_MAX,
  HTTP2_UNSERVED_STREAMS_MAX,
  HTTP2_WINDOW_BYTES,
} from '../base/limits.ts';
import type { Held, Phase } from './accept.ts';
import { IncomingContent } from './content.ts';
import type { Client, Inside, Serve } from './exchange.ts';
import { type Http2Head, readHttp2Head } from './http2-head.ts';
import { Http2Reply } from './http2-reply.ts';
import type { Origin } from './identify.ts';
import type { Tick } from './tunnel.ts';

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } =
  constants;
const NOTHING = Buffer.alloc(0);

export class Http2Connection implements Held {
  readonly socket: TLSSocket;
  readonly origin: Origin;
  readonly inside: Inside;
  readonly tick: Tick;
  sinceMs: number;
  readonly #session: ServerHttp2Session;
  readonly #serve: Serve;
  readonly #clients = new Set<StreamClient>();
  #draining = false;
  #requests = 0; // In the connection's life.
  #forgiven = 0; // Streams that were no requests, one a second; clients may leave numbers out.
  #controls = 0; // In this second.

  constructor(socket: TLSSocket, origin: Origin, serve: Serve, tick: Tick, inside: Inside) {
    this.socket = socket;
    this.origin = origin;
    this.inside = inside;
    this.tick = tick;
    this.sinceMs = tick.nowMs;
    this.#serve = serve;
    this.#session = performServerHandshake(socket, {
      maxSessionMemory: HTTP2_SESSION_BYTES_MAX / 1_048_576,
      maxHeaderListPairs: FIELDS_MAX,
      maxOutstandingPings: HTTP2_PINGS_MAX,
      maxSettings: HTTP2_SETTINGS_ENTRIES_MAX,
      maxSessionInvalidFrames: HTTP2_INVALID_FRAMES_MAX,
      maxSessionRejectedStreams: HTTP2_INVALID_FRAMES_MAX,
      streamResetBurst: HTTP2_RESETS_BURST_MAX,
      streamResetRate: HTTP2_RESETS_PER_SECOND_MAX,
      strictSingleValueFields: false, // An origin may repeat what it likes; its client reads it.
      settings: {
        enablePush: false,
        enableConnectProtocol: true,
        maxConcurrentStreams: HTTP2_STREAMS_MAX,
        maxHeaderListSize: HEAD_BYTES_MAX,
        initialWindowSize: HTTP2_WINDOW_BYTES,
      },
    });
    sayGoaway(this.#session);
    this.#session.on('error', () => {}); // Node ends the socket.
    this.#session.on('ping', () => this.#onControl());
    this.#session.on('remoteSettings', () => this.#onControl());
    this.#session.on('stream', (stream, _headers, flags, raw) => {
      void this.#onStream(stream, flags, raw);
    });
  }

  get phase(): Phase {
    if (this.#clients.size === 0) return 'idle';
    for (const client of this.#clients) if (client.takenOver) return 'tunnel';
    return 'exchange';
  }

  /** Node has said GOAWAY to one that is destroyed; whoever reads nothing does not see it and stays. */
  get draining(): boolean {
    return this.#draining || this.#session.destroyed;
  }

  /** No further requests; those under way finish. */
  drain(): void {
    this.#draining = true;
    this.#session.close();
  }

  /** Silent for too long. */
  expire(): void {
    this.#session.destroy();
  }

  /** Streams that nobody reads any more, and what nghttp2 refuses without a limit or a word to us. */
  watch(): void {
    this.#controls = 0;
    if (this.#session.destroyed) return;
    for (const client of this.#clients) client.watch();
    const opened = ((this.#session.state.lastProcStreamID ?? 0) + 1) / 2; // Odd numbers, in order.
    const unserved = opened - this.#requests - this.#forgiven;
    if (unserved > HTTP2_UNSERVED_STREAMS_MAX) this.#calm();
    else if (unserved > 0) this.#forgiven++;
  }

  /** Each costs an answer, and nothing else bounds them. */
  #onControl(): void {
    if (++this.#controls > HTTP2_CONTROLS_PER_SECOND_MAX) this.#calm();
  }

  #calm(): void {
    this.#session.destroy(new Error('frames that ask for nothing'), NGHTTP2_ENHANCE_YOUR_CALM);
  }

  async #onStream(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): Promise<void> {
    this.#requests++;
    stream.on('error', () => {}); // 'close' follows.
    const client = new StreamClient(this, stream);
    this.#clients.add(client);
    stream.once('close', () => {
      this.#clients.delete(client);
      this.sinceMs = this.tick.nowMs;
    });
    const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    let head: Http2Head;
    try {
      head = readHttp2Head(raw);
    } catch (error) {
      const reply = new Http2Reply(stream, 'GET', null);
      await this.#serve.malformed(client, reply, error as SallyportError);
      if (!ended) reply.finish();
      return;
    }
    const content = ended || head.upgrade !== null ? null : client.stream();
    const reply = new Http2Reply(stream, head.method, head.webSocketKey);
    await this.#serve.request({ client, head, content, reply });
    client.onGone = null;
    if (content !== null) reply.finish();
  }
}

/**
 * Node destroys the streams of a session before it says GOAWAY, and while their resets are being
 * written it loses what comes behind them. So GOAWAY goes first.
 */
function sayGoaway(session: ServerHttp2Session): void {
  const destroy = session.destroy.bind(session);
  session.destroy = (error, code) => {
    const why = code ?? (error === undefined ? NGHTTP2_NO_ERROR : NGHTTP2_PROTOCOL_ERROR);
    if (!session.destroyed && !session.closed) session.goaway(why);
    destroy(error, code);
  };
}

/** One stream as the pipeline sees its client. */
class StreamClient implements Client {
  readonly origin: Origin;
  readonly inside: Inside;
  readonly http2 = true;
  onGone: (() => void) | null = null;
  onEnded: (() => void) | null = null; // A stream that is half closed is any request without content.
  contentBytes = 0;
  takenOver = false;
  #sinceMs = 0;
  readonly #connection: Http2Connection;
  readonly #stream: ServerHttp2Stream;
  #content: IncomingContent | null = null;

  constructor(connection: Http2Connection, stream: ServerHttp2Stream) {
    this.#connection = connection;
    this.origin = connection.origin;
    this.inside = connection.inside;
    this.#stream = stream;
    this.touch();
    stream.once('close', () => {
      const gone = this.onGone;
      this.onGone = null;
      gone?.();
      this.#content?.destroy();
    });
  }

  stream(): Readable {
    this.#content = contentOf(this.#stream, (bytes) => {
      this.contentBytes += bytes;
      this.touch();
    });
    return this.#content;
  }

  get gone(): boolean {
    return !this.takenOver && this.#stream.destroyed;
  }

  get contentDone(): boolean {
    return this.#content === null || this.#stream.readableEnded;
  }

  touch(): void {
    this.#sinceMs = this.#connection.tick.nowMs;
    this.#connection.sinceMs = this.#sinceMs;
  }

  /** Streams beside it keep the connection alive, but not this one. */
  watch(): void {
    const silentMs = this.#connection.tick.nowMs - this.#sinceMs;
    if (!this.takenOver && silentMs > EXCHANGE_IDLE_TIMEOUT_MS) this.destroy();
  }

  onceDrained(callback: () => void): void {
    this.#stream.once('drain', callback);
  }

  destroy(): void {
    this.#stream.close(NGHTTP2_CANCEL);
  }

  takeOver(): { transport: Duplex; early: Buffer } {
    this.onGone = null;
    this.takenOver = true;
    return { transport: this.#stream, early: NOTHING };
  }
}

/**
 * Request content on its way upstream; a stream of its own, since its reader may destroy it early.
 *
 * @param counted  told how many bytes have come.
 */
function contentOf(stream: ServerHttp2Stream, counted: (bytes: number) => void): IncomingContent {
  const push = stream.push.bind(stream);
  const content = new IncomingContent(() => {
    if (!stream.isPaused()) return;
    stream.resume();
    push(NOTHING); // Node asks for more when it was given something.
  });
  const take = (chunk: Buffer): boolean => {
    counted(chunk.length);
    return content.add(chunk) || content.destroyed;
  };
  stream.on('data', (chunk: Buffer) => {
    // What Node has kept must not be overtaken.
    if (!take(chunk) && stream.readableLength === 0) stream.pause();
  });
  // Frames of the window go on coming while a stream is paused, and Node would keep each by itself.
  stream.push = (chunk: Buffer | null) => {
    if (chunk === null || !stream.isPaused() || stream.readableLength > 0) return push(chunk);
    take(chunk);
    return false;
  };
  stream.once('end', () => content.finish());
  stream.once('aborted', () => {
    const error = new SallyportError('SALLYPORT_REQUEST_MALFORMED', 'the content is incomplete');
    content.destroy(error);
  });
  return content;
}
