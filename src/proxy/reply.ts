// The one writer of an answer on a client's connection: status line, fields, framing. It knows
// what the client can take (HTTP/1.0 gets no chunks) and nothing of where the answer comes from.
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Backlog, standsAlone } from './backlog.ts';
import { CHUNK_TAIL, chunkEnd, chunkHead } from './body.ts';
import type { Answer } from './exchange.ts';
import { reset } from './reset.ts';

/** What of the request shapes the answer. */
export type Asked = {
  readonly method: string;
  /** 10 or 11. */
  readonly version: number;
  /** Whether the client means to use the connection again. */
  readonly keepAlive: boolean;
};

type Framing = 'none' | 'length' | 'chunked' | 'close';

const COALESCE_BYTES_MAX = 16_384; // Up to here one write of head and content beats two.
// undici decodes an origin's reason phrase as UTF-8, and some of those code points would become CR
// or LF when they are written as single bytes (RFC 9112 section 11.1); ASCII alone is passed on.
const PHRASE = /^[\t\x20-\x7e]*$/;

/** One answer, from interim responses to the last byte. */
export class Reply implements Answer {
  readonly #socket: Socket;
  readonly #asked: Asked;
  #head: string | null = null;
  #framing: Framing = 'none';
  #left = 0;
  #flushing = false;
  #backlog: Backlog | null = null; // Once the client is slow.
  /** Status of the final response; 0 until it has begun. */
  status = 0;
  /** Content bytes written. */
  bytes = 0;
  /** Whether the connection ends with this answer. */
  closes: boolean;

  constructor(socket: Socket, asked: Asked) {
    this.#socket = socket;
    this.#asked = asked;
    this.closes = !asked.keepAlive || asked.version === 10; // RFC 9112 section 9.3, last paragraph.
  }

  get started(): boolean {
    return this.status !== 0;
  }

  /** A client of HTTP/1.0 knows no interim responses. */
  interim(status: number, fields: string): void {
    if (this.#asked.version === 10 || this.started) return;
    if (this.#socket.writableNeedDrain) return; // An origin must not fill us with what nobody reads.
    this.#socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${fields}\r\n`,
      'latin1',
    );
  }

  start(status: number, reason: string, fields: string, contentLength: number | null): void {
    this.status = status;
    const { method, version } = this.#asked;
    const bare = status === 204 || status === 304 || status < 200;
    let framing = '';
    if (bare || method === 'HEAD') {
      this.#framing = 'none';
      if (contentLength !== null && status !== 204)
        framing = `Content-Length: ${contentLength}\r\n`;
    } else if (contentLength !== null) {
      this.#framing = 'length';
      this.#left = contentLength;
      framing = `Content-Length: ${contentLength}\r\n`;
    } else if (version === 11) {
      this.#framing = 'chunked';
      framing = 'Transfer-Encoding: chunked\r\n';
    } else {
      this.#framing = 'close';
      this.closes = true;
    }
    const connection = this.closes ? 'Connection: close\r\n' : '';
    const phrase = PHRASE.test(reason) ? reason : '';
    this.#head = `HTTP/1.1 ${status} ${phrase}\r\n${fields}${framing}${connection}\r\n`;
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush()); // After the parser's turn: content may come with the head.
  }

  data(chunk: Buffer): boolean {
    if (this.#framing === 'none' || chunk.length === 0) return true;
    this.bytes += chunk.length;
    this.#left -= chunk.length;
    const socket = this.#socket;
    if (this.#backlog === null && standsAlone(chunk, socket)) {
      this.#send(chunk);
      // What the kernel took at once needs no waiting, though write() counts it and says stop.
      return socket.writableLength === 0 || !socket.writableNeedDrain;
    }
    this.#backlog ??= new Backlog(socket, (piece, onOut) => this.#send(piece, onOut));
    return this.#backlog.push(chunk);
  }

  /** Pieces that have waited together are one chunk. */
  #send(chunk: Buffer, onOut?: () => void): void {
    const head = this.#head ?? '';
    this.#head = null;
    if (this.#framing === 'chunked')
      this.#write(head + chunkHead(chunk.length), chunk, CHUNK_TAIL, onOut);
    else if (head === '') this.#socket.write(chunk, onOut);
    else this.#write(head, chunk, '', onOut);
  }

  #write(before: string, chunk: Buffer, after: string, onOut?: () => void): void {
    if (chunk.length <= COALESCE_BYTES_MAX) {
      this.#socket.write(join(before, chunk, after), onOut);
      return;
    }
    this.#socket.cork();
    this.#socket.write(before, 'latin1');
    this.#socket.write(chunk, onOut);
    if (after !== '') this.#socket.write(after, 'latin1');
    this.#socket.uncork();
  }

  end(trailers: string): boolean {
    const whole = this.#framing !== 'length' || this.#left === 0;
    this.#backlog?.flush();
    const last = this.#framing === 'chunked' ? chunkEnd(trailers) : '';
    const rest = (this.#head ?? '') + last;
    this.#head = null;
    if (rest !== '') this.#socket.write(rest, 'latin1');
    return whole;
  }

  cut(): void {
    this.closes = true;
    if (this.#framing === 'close') reset(this.#socket);
    else this.#socket.destroy();
  }

  switchProtocols(fields: string): void {
    this.status = 101;
    this.#socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`, 'latin1');
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#head !== null && !this.#socket.destroyed) this.#socket.write(this.#head, 'latin1');
    this.#head = null;
  }
}

function join(head: string, chunk: Buffer, after: string): Buffer {
  const joined = Buffer.allocUnsafe(head.length + chunk.length + after.length);
  joined.write(head, 0, 'latin1');
  joined.set(chunk, head.length);
  joined.write(after, head.length + chunk.length, 'latin1');
  return joined;
}
