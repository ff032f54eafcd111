// One HTTP/2 connection to an origin (RFC 9113), behind the dispatch interface of undici, so that
// relay.ts speaks to either version in the same words. Response trailers and both directions at once
// are what gRPC needs of it.
import { AsyncResource } from 'node:async_hooks';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import {
  BODY_IDLE_TIMEOUT_MS,
  FIELDS_MAX,
  HEAD_BYTES_MAX,
  HTTP2_SESSION_BYTES_MAX,
  HTTP2_WINDOW_BYTES,
  POOL_IDLE_MS,
  RESPONSE_HEAD_TIMEOUT_MS,
} from '../base/limits.ts';
import { Backlog } from './backlog.ts';
import { Blocks } from './blocks.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_FLAG_END_STREAM } =
  constants;

// node:http2 calls this for each request, and Node's own gives the function two deprecated accessors
// (DEP0172): a quarter of the CPU of a request, and garbage that only a full collection finds.
AsyncResource.prototype.bind = function bind<F extends (...args: never[]) => unknown>(
  this: AsyncResource,
  work: F,
): F {
  const resource = this;
  return function bound(this: unknown, ...args: never[]) {
    return resource.runInAsyncScope(work as never, this, ...args);
  } as F;
};

const NOTHING = Buffer.alloc(0);

type Options = Dispatcher.DispatchOptions;
type Handler = Required<Dispatcher.DispatchHandler>;

const OPTIONS = {
  maxSessionMemory: HTTP2_SESSION_BYTES_MAX / 1_048_576,
  maxHeaderListPairs: FIELDS_MAX,
  strictSingleValueFields: false, // As with HTTP/1.1, an origin itself refuses what is repeated.
  settings: {
    enablePush: false,
    initialWindowSize: HTTP2_WINDOW_BYTES,
    maxHeaderListSize: HEAD_BYTES_MAX,
  },
};

export class Http2Origin {
  readonly #session: ClientHttp2Session;
  #leaving = false;

  /** @param socket  on which ALPN chose h2. @param onClose  no further requests: dial anew. */
  constructor(authority: string, socket: TLSSocket, onClose: () => void) {
    this.#session = connect(`https://${authority}`, {
      ...OPTIONS,
      createConnection: () => socket,
    });
    this.#session.setTimeout(POOL_IDLE_MS, () => this.close());
    const leave = (): void => {
      this.#leaving = true;
      onClose();
    };
    this.#session.once('goaway', leave);
    this.#session.once('close', leave);
    this.#session.on('error', leave);
  }

  /** Whether requests can still be sent. */
  get usable(): boolean {
    return !this.#leaving && !this.#session.closed && !this.#session.destroyed;
  }

  /** Lets what runs finish. */
  close(): void {
    this.#leaving = true;
    if (!this.#session.destroyed) this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }

  /** Sends one request; the handler hears of it as from undici. */
  dispatch(options: Options, handler: Dispatcher.DispatchHandler): boolean {
    const body = options.body as Buffer | Readable | null;
    let stream: ClientHttp2Stream;
    try {
      const head = headOf(options) as unknown as IncomingHttpHeaders; // A flat array, in its order.
      stream = this.#session.request(head, { endStream: body === null });
    } catch (error) {
      handler.onResponseError?.(null as never, error as Error);
      return true;
    }
    listen(stream, body, handler as Handler);
    return true;
  }
}

/** Pseudo-fields first; what HTTP/1.1 says of the connection has no place here (RFC 9113 section 8.2.2). */
function headOf({ method, path, headers }: Options): string[] {
  const fields = headers as readonly string[];
  let authority = '';
  const rest: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = (fields[i] ?? '').toLowerCase();
    const value = fields[i + 1] ?? '';
    if (name === 'host') authority = value;
    else rest.push(name, value);
  }
  return [':method', method, ':scheme', 'https', ':authority', authority, ':path', path, ...rest];
}

class Controller implements Dispatcher.DispatchController {
  readonly #stream: ClientHttp2Stream;
  rawHeaders: string[] = [];
  rawTrailers: string[] = [];
  paused = false;
  aborted = false;
  reason: Error | null = null;
  #frames: PausedFrames | null = null;

  constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
  }

  abort(reason: Error): void {
    this.aborted = true;
    this.reason ??= reason;
    this.#stream.close(NGHTTP2_CANCEL);
  }

  pause(): void {
    this.paused = true;
    this.#stream.pause();
    this.#frames ??= new PausedFrames(this.#stream);
  }

  resume(): void {
    this.paused = false;
    this.#frames?.release();
    this.#stream.resume();
    this.#frames?.ask();
  }
}

/** Frames of the window go on coming while a stream is paused, and Node would keep each by itself. */
class PausedFrames {
  readonly #blocks = new Blocks();
  readonly #push: (chunk: Buffer | null) => boolean;

  constructor(stream: ClientHttp2Stream) {
    this.#push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null) => {
      if (chunk !== null && stream.isPaused()) {
        this.#blocks.add(chunk);
        return false;
      }
      this.release();
      return this.#push(chunk);
    };
  }

  /** They come behind what Node has kept itself. */
  release(): void {
    if (this.#blocks.bytes === 0) return;
    for (const block of this.#blocks.takeAll()) this.#push(block);
  }

  /** Node asks for more when it was given something. */
  ask(): void {
    this.#push(NOTHING);
  }
}

/**
 * A stream, and all that can be reached from it, outlives its end until the next full collection, since
 * Node makes a part of every Writable in the old generation. So what is told is let go of at the end.
 */
function listen(stream: ClientHttp2Stream, body: Buffer | Readable | null, handler: Handler): void {
  const controller = new Controller(stream);
  let told: Handler | null = handler;
  const finish = (error: Error | null): void => {
    const last = told;
    if (last === null) return;
    told = null;
    clearTimeout(timer);
    if (error !== null) last.onResponseError(controller, error);
    else last.onResponseEnd(controller, {});
    // The rest of the content has no reader any more.
    if (!stream.writableEnded) stream.close(error === null ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
  };
  const timer = setTimeout(
    () => finish(coded('UND_ERR_HEADERS_TIMEOUT')),
    RESPONSE_HEAD_TIMEOUT_MS,
  );
  const begin = (headers: IncomingHttpHeaders, flags: number, raw: string[]): void => {
    const status = Number(headers[':status']);
    controller.rawHeaders = withoutPseudo(raw);
    try {
      told?.onResponseStart(controller, status, {}, '');
    } catch (error) {
      finish(error as Error);
      return;
    }
    if (status < 200) return;
    clearTimeout(timer);
    stream.setTimeout(BODY_IDLE_TIMEOUT_MS, () => finish(coded('UND_ERR_BODY_TIMEOUT')));
    if ((flags & NGHTTP2_FLAG_END_STREAM) !== 0) finish(null);
  };
  told.onRequestStart(controller, {});
  stream.on('headers', begin);
  stream.on('response', begin as (headers: IncomingHttpHeaders, flags: number) => void);
  stream.on('data', (chunk: Buffer) => told?.onResponseData(controller, chunk));
  stream.on('trailers', (_: IncomingHttpHeaders, __: number, raw: string[]) => {
    controller.rawTrailers = raw;
  });
  stream.on('end', () => {
    if (stream.rstCode === NGHTTP2_NO_ERROR && !stream.aborted) finish(null);
  });
  const fail = (error: Error | null): void => {
    // An error captures the stack, which costs too much for one that nobody will see.
    if (told !== null) finish(controller.reason ?? named(error, stream.rstCode));
  };
  stream.on('error', fail);
  stream.on('close', () => fail(null));
  if (body instanceof Readable) {
    body.on('error', (error) => controller.abort(error));
    upload(body, stream);
  } else if (body !== null) {
    stream.end(body);
  }
}

/** At the pace of the origin. */
function upload(body: Readable, stream: ClientHttp2Stream): void {
  const backlog = new Backlog(stream);
  const resume = (): void => void body.resume();
  body.on('data', (piece: Buffer) => {
    if (!backlog.push(piece)) body.pause();
  });
  body.once('end', () => {
    backlog.flush();
    stream.end();
  });
  stream.on('drain', resume);
  stream.once('close', () => {
    stream.off('drain', resume);
    body.pause();
  });
}

function withoutPseudo(raw: readonly string[]): string[] {
  const fields: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!raw[i]?.startsWith(':')) fields.push(raw[i] ?? '', raw[i + 1] ?? '');
  }
  return fields;
}

/** Refused before the origin looked at it (RFC 9113 section 8.7): may be sent again. */
function named(error: Error | null, rstCode: number | undefined): Error {
  if (rstCode === NGHTTP2_REFUSED_STREAM) return coded('UND_ERR_SOCKET');
  return error ?? coded('ECONNRESET');
}

function coded(code: string): Error {
  return Object.assign(new Error(`HTTP/2: ${code}`), { code });
}
