// The answer on one HTTP/2 stream: the same calls as reply.ts takes, in frames (RFC 9113 section 8.1).
import { createHash } from 'node:crypto';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { SallyportError } from '../base/errors.ts';
import { Backlog, standsAlone } from './backlog.ts';
import type { Answer } from './exchange.ts';

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

/** RFC 6455 section 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Two suffice, unless the client has closed its window; then it will not see the end either way. */
const TURNS_TO_END_MAX = 8;

export class Http2Reply implements Answer {
  readonly #stream: ServerHttp2Stream;
  readonly #method: string;
  readonly #webSocketKey: string | null;
  #backlog: Backlog | null = null; // Once the client is slow.
  #head: Record<string, string | string[]> | null = null;
  #trailers: Record<string, string | string[]> = {};
  #left: number | null = null;
  status = 0;
  bytes = 0;
  closes = false; // A stream always ends with its answer; the connection goes on.

  /** @param webSocketKey  of an extended CONNECT (RFC 8441), else null */
  constructor(stream: ServerHttp2Stream, method: string, webSocketKey: string | null) {
    this.#stream = stream;
    this.#method = method;
    this.#webSocketKey = webSocketKey;
    stream.on('wantTrailers', () => this.#say(() => stream.sendTrailers(this.#trailers)));
  }

  get started(): boolean {
    return this.status !== 0;
  }

  interim(status: number, fields: string): void {
    // RFC 9113 section 8.6: there is no 101 here.
    if (this.started || status === 101 || this.#stream.destroyed) return;
    if (this.#stream.writableNeedDrain) return; // An origin must not fill us with what nobody reads.
    this.#say(() => this.#stream.additionalHeaders({ ':status': status, ...fieldsOf(fields) }));
  }

  start(status: number, _reason: string, fields: string, contentLength: number | null): void {
    this.status = status;
    const head: Record<string, string | string[]> = fieldsOf(fields);
    const bare = status === 204 || status === 304 || this.#method === 'HEAD';
    if (contentLength !== null && status !== 204) head['content-length'] = String(contentLength);
    this.#left = bare ? 0 : contentLength;
    this.#head = head;
    // After the origin's turn: an answer that ends at once says so in its head, which is how gRPC
    // tells an early failure (trailers-only).
    queueMicrotask(() => this.#flush(false));
  }

  data(chunk: Buffer): boolean {
    if (this.#stream.destroyed) return true;
    if (chunk.length === 0 || this.#method === 'HEAD') return true;
    this.#flush(false);
    this.bytes += chunk.length;
    if (this.#left !== null) this.#left -= chunk.length;
    if (this.#backlog === null && standsAlone(chunk, this.#stream))
      return this.#stream.write(chunk);
    this.#backlog ??= new Backlog(this.#stream);
    return this.#backlog.push(chunk);
  }

  end(trailers: string): boolean {
    const whole = this.#left === null || this.#left === 0;
    this.#trailers = fieldsOf(trailers);
    if (this.#stream.destroyed) return whole;
    if (!whole) this.#stream.close(NGHTTP2_INTERNAL_ERROR);
    else if (this.#head !== null && trailers === '') this.#flush(true);
    else {
      this.#flush(false);
      this.#backlog?.flush();
      this.#stream.end();
    }
    return whole;
  }

  cut(): void {
    this.#head = null;
    this.#stream.close(NGHTTP2_INTERNAL_ERROR);
  }

  /** RFC 8441 section 5: 200 stands for 101, and the key's answer is ours to check. */
  switchProtocols(fields: string): void {
    const head = fieldsOf(fields);
    const wanted = createHash('sha1')
      .update(`${this.#webSocketKey}${WEBSOCKET_GUID}`)
      .digest('base64');
    if (head['sec-websocket-accept'] !== wanted) {
      throw new SallyportError('SALLYPORT_UPSTREAM_MALFORMED', 'the WebSocket handshake is wrong');
    }
    for (const name of ['sec-websocket-accept', 'upgrade', 'connection']) delete head[name];
    this.status = 200;
    this.#stream.respond({ ':status': 200, ...head });
  }

  #flush(endStream: boolean): void {
    const head = this.#head;
    this.#head = null;
    if (head === null) return;
    const waitForTrailers = !endStream && this.#method !== 'HEAD';
    this.#say(() =>
      this.#stream.respond({ ':status': this.status, ...head }, { endStream, waitForTrailers }),
    );
  }

  /** Node throws at what HTTP/2 cannot say. The origin chose it, and nobody is above us to catch it. */
  #say(frame: () => void): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    try {
      frame();
    } catch {
      this.#stream.close(NGHTTP2_INTERNAL_ERROR);
    }
  }

  /** The exchange is over; a client that still sends content is told that nobody reads it. */
  finish(): void {
    if (this.#stream.destroyed || this.#stream.readableEnded) return;
    if (this.#stream.writableFinished) this.#reset(TURNS_TO_END_MAX);
    else this.#stream.once('finish', () => this.#reset(TURNS_TO_END_MAX));
  }

  /**
   * Not before the answer's end is on its way (RFC 9113 section 8.1), which is some turns behind
   * 'finish': a reset overtakes it, and the client takes the answer for cut, or misses its trailers.
   */
  #reset(turns: number): void {
    if (this.#stream.destroyed || this.#stream.readableEnded) return;
    if (this.#stream.state.localClose === 1 || turns === 0) this.#stream.close(NGHTTP2_NO_ERROR);
    else setImmediate(() => this.#reset(turns - 1));
  }
}

/** Lines back into fields; those of one name stay apart, as Set-Cookie needs. */
function fieldsOf(lines: string): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null); // Names are the origin's.
  for (const line of lines.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const known = fields[name];
    if (known === undefined) fields[name] = value;
    else fields[name] = Array.isArray(known) ? [...known, value] : [known, value];
  }
  return fields;
}
