// A client of HTTP/2 that sends exactly the frames it is told, in any order and as wrong as a test
// needs them; node:http2 would refuse to. RFC 9113 section 4.1, RFC 7541.
import type { TLSSocket } from 'node:tls';
import { within } from './wire.ts';

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const ACK = 1;
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const PADDED = 8;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const STALLED_MS = 1_500;
const FAST_BYTES = 32_768;
const PACED_BYTES = 2_048; // One TLS record, so that it is all read before anything is answered.
const PACE = 'in pace!';

type Payload = Buffer | string;
export type Field = readonly [name: string, value: string];

export function frame(type: number, flags: number, stream: number, payload: Payload = ''): Buffer {
  const content = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(content.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, content]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)]);
}

/** Literals that the decoder does not remember, or does (RFC 7541 section 6.2). */
export function hpack(fields: readonly Field[], remembered = false): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    parts.push(Buffer.from([remembered ? 0x40 : 0]), text(name), text(value));
  }
  return Buffer.concat(parts);
}

function text(value: string): Buffer {
  const length = [Math.min(value.length, 127)];
  let rest = value.length - 127;
  while (rest >= 128) {
    length.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  if (value.length >= 127) length.push(rest);
  return Buffer.concat([Buffer.from(length), Buffer.from(value, 'latin1')]);
}

export function headOf(port: number, method = 'GET', path = '/'): Field[] {
  return [
    [':method', method],
    [':scheme', 'https'],
    [':authority', `localhost:${port}`],
    [':path', path],
  ];
}

/** Why no more was sent: all was, the other side closed, or it does not read any more. */
export type Flooded = 'sent' | 'ended' | 'stalled';

export class FrameClient {
  readonly socket: TLSSocket;
  ended = false;
  /** Code of each stream that was reset. */
  readonly resets = new Map<number, number>();
  /** Status of each stream that was answered. */
  readonly statuses = new Map<number, number>();
  /** Streams that were ended by the other side without a reset. */
  readonly finished = new Set<number>();
  /** Error code of the GOAWAY. */
  goaway: number | null = null;
  dataBytes = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #pongs = 0; // To our own.
  #wake = new Set<() => void>();

  /** @param settings  beside the one that keeps the answers' heads easy to read. */
  constructor(socket: TLSSocket, settings: Buffer = Buffer.alloc(0)) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    // 'end' alone is all that a clean end brings: the socket underneath may stay open for writing.
    for (const event of ['end', 'close']) {
      socket.once(event, () => {
        this.ended = true;
        this.#woken();
      });
    }
    socket.write(PREFACE, 'latin1');
    const first = Buffer.concat([setting(1, 0), settings]); // SETTINGS_HEADER_TABLE_SIZE
    socket.write(frame(SETTINGS, 0, 0, first));
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /**
   * Sends what `next` makes, `times` times: no faster than it is taken, or, `paced`, than a PING
   * behind each few of them is answered.
   */
  async flood(times: number, next: (i: number) => Buffer, paced = false): Promise<Flooded> {
    const batchBytes = paced ? PACED_BYTES : FAST_BYTES;
    let i = 0;
    while (i < times) {
      const batch: Buffer[] = [];
      for (let bytes = 0; i < times && bytes < batchBytes; i++) {
        const piece = next(i);
        bytes += piece.length;
        batch.push(piece);
      }
      if (this.ended || this.socket.destroyed) return 'ended';
      const how = paced ? await this.#paced(batch) : await this.#fast(batch);
      if (how !== 'sent') return how;
    }
    return 'sent';
  }

  /** Until the first SETTINGS have gone both ways. */
  async settled(): Promise<void> {
    await this.#paced([]);
  }

  async #fast(batch: readonly Buffer[]): Promise<Flooded> {
    const taken = this.socket.write(Buffer.concat(batch));
    if (!taken && !(await this.#drained())) return this.ended ? 'ended' : 'stalled';
    await new Promise((resolve) => setImmediate(resolve)); // The proxy lives in this process.
    return 'sent';
  }

  async #paced(batch: readonly Buffer[]): Promise<Flooded> {
    const pong = this.#pongs + 1;
    this.socket.write(Buffer.concat([...batch, frame(PING, 0, 0, PACE)]));
    await this.when('the answer to PING', () => this.#pongs >= pong || this.ended);
    return this.ended ? 'ended' : 'sent';
  }

  async when(what: string, ready: () => boolean): Promise<void> {
    while (!ready()) {
      if (this.ended) throw new Error(`ended before ${what}`);
      await within(what, new Promise<void>((resolve) => this.#wake.add(resolve)));
    }
  }

  /** Until the stream was answered or refused. */
  async outcomeOf(stream: number): Promise<number | 'reset' | 'ended'> {
    const known = (): boolean => this.resets.has(stream) || this.finished.has(stream);
    await this.when(`the end of stream ${stream}`, () => known()).catch(() => {});
    return this.statuses.get(stream) ?? (this.resets.has(stream) ? 'reset' : 'ended');
  }

  async closed(): Promise<void> {
    while (!this.ended) {
      await within('the end', new Promise<void>((resolve) => this.#wake.add(resolve)));
    }
  }

  #drained(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), STALLED_MS);
    this.socket.once('drain', () => resolve(true));
    this.socket.once('close', () => resolve(false));
    return promise.finally(() => clearTimeout(timer));
  }

  #woken(): void {
    const wake = this.#wake;
    this.#wake = new Set();
    for (const each of wake) each();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      this.#take(bytes[3] ?? 0, bytes[4] ?? 0, bytes.readUInt32BE(5), bytes.subarray(9, end));
      bytes = bytes.subarray(end);
    }
    this.#bytes = bytes;
    this.#woken();
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === PING && flags === ACK && payload.toString('latin1') === PACE) this.#pongs++;
    this.#keep(type, stream, payload);
    if ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0) {
      this.finished.add(stream);
    }
  }

  #keep(type: number, stream: number, payload: Buffer): void {
    if (type === RST_STREAM) this.resets.set(stream, payload.readUInt32BE(0));
    if (type === GOAWAY) this.goaway = payload.readUInt32BE(4);
    if (type === DATA) this.dataBytes += payload.length;
    if (type === HEADERS) this.statuses.set(stream, statusOf(payload));
  }
}

const STATIC_STATUSES = [200, 204, 206, 304, 400, 404, 500];

/** :status stands first; its digits may be in Huffman's code (RFC 7541 appendices A and B). */
function statusOf(block: Buffer): number {
  let at = 0;
  while (((block[at] ?? 0) & 0xe0) === 0x20) at++; // A change of the table's size.
  const first = block[at] ?? 0;
  if ((first & 0x80) !== 0) return STATIC_STATUSES[(first & 0x7f) - 8] ?? 0;
  const length = block[at + 1] ?? 0;
  const value = block.subarray(at + 2, at + 2 + (length & 0x7f));
  if ((length & 0x80) === 0) return Number(value.toString('latin1'));
  return Number(digitsOf(value));
}

/** Three digits in Huffman's code: 0 to 2 take five bits, the others six. */
function digitsOf(value: Buffer): string {
  let bits = '';
  for (const byte of value) bits += byte.toString(2).padStart(8, '0');
  let digits = '';
  for (let at = 0; digits.length < 3; ) {
    const five = Number.parseInt(bits.slice(at, at + 5), 2);
    digits += five < 3 ? five : Number.parseInt(bits.slice(at, at + 6), 2) - 0x19 + 3;
    at += five < 3 ? 5 : 6;
  }
  return digits;
}
