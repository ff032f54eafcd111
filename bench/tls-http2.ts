// A client of HTTP/2 that costs next to nothing: heads are made once, and of answers only the frames
// are read (RFC 9113 section 4.1), the content, and whether the status is 200.
import type { TLSSocket } from 'node:tls';
import { GRPC_PREFIX, PLACEHOLDER, SECRET_SEEN } from './tls-credential.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME_HEAD_BYTES = 9;
const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
} as const;
const FLAG = { ack: 1, endStream: 1, endHeaders: 4 } as const;
const STATUS_200 = 0x88; // RFC 7541 appendix A, index 8.
const WINDOW_MAX = 2 ** 31 - 1 - 65_535;

export type Answered = {
  readonly ok: boolean;
  readonly credentialed: boolean;
  readonly beganMs: number;
};

type Open = { readonly beganMs: number; ok: boolean; credentialed: boolean };

/** A field that enters no table (RFC 7541 section 6.2.2): name by index, or in full. */
function field(name: number | string, value: string): Buffer {
  const index =
    typeof name === 'string'
      ? [0, name.length, ...Buffer.from(name)]
      : name < 15
        ? [name]
        : [15, name - 15];
  return Buffer.from([...index, value.length, ...Buffer.from(value)]);
}

function frame(type: number, flags: number, stream: number, content: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(content.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, content]);
}

const ends = (content: string): Buffer[] => [
  field(58, 'sallyport-bench'), // user-agent
  field(19, '*/*'), // accept
  field(23, `Bearer ${PLACEHOLDER}`), // authorization
  ...(content === '' ? [] : [field(31, content), field('te', 'trailers')]), // content-type
];

/** Frames of one request; the stream's number is to be filled in at `at`. */
function template(authority: string, kind: 'get' | 'grpc'): { bytes: Buffer; at: number[] } {
  const https = Buffer.from([0x87]);
  const host = field(1, authority);
  if (kind === 'get') {
    const block = [Buffer.from([0x82]), https, Buffer.from([0x84]), host, ...ends('')];
    const flags = FLAG.endHeaders | FLAG.endStream;
    return { bytes: frame(FRAME.headers, flags, 0, Buffer.concat(block)), at: [5] };
  }
  const block = [Buffer.from([0x83]), https, field(4, '/bench.Echo/Say'), host];
  const rest = ends('application/grpc');
  const head = frame(FRAME.headers, FLAG.endHeaders, 0, Buffer.concat([...block, ...rest]));
  const message = Buffer.concat([GRPC_PREFIX, Buffer.from('Hello, world!')]);
  const bytes = Buffer.concat([head, frame(FRAME.data, FLAG.endStream, 0, message)]);
  return { bytes, at: [5, head.length + 5] };
}

export class Http2Load {
  readonly #socket: TLSSocket;
  readonly #template: { bytes: Buffer; at: number[] };
  readonly #onAnswer: (answered: Answered) => void;
  readonly #open = new Map<number, Open>();
  #next = 1;
  #rest = Buffer.alloc(0);

  /** @param onAnswer  of each request, when its stream has ended. */
  constructor(
    socket: TLSSocket,
    authority: string,
    kind: 'get' | 'grpc',
    onAnswer: (answered: Answered) => void,
  ) {
    this.#socket = socket;
    this.#template = template(authority, kind);
    this.#onAnswer = onAnswer;
    const window = Buffer.alloc(4);
    window.writeUInt32BE(WINDOW_MAX);
    const settings = Buffer.from([0, 2, 0, 0, 0, 0]); // No push.
    socket.write(
      Buffer.concat([
        PREFACE,
        frame(FRAME.settings, 0, 0, settings),
        frame(FRAME.window, 0, 0, window),
      ]),
    );
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Sends so many at once. */
  send(count: number): void {
    const beganMs = performance.now();
    const requests = Array.from({ length: count }, () => {
      const bytes = Buffer.from(this.#template.bytes);
      for (const at of this.#template.at) bytes.writeUInt32BE(this.#next, at);
      this.#open.set(this.#next, { beganMs, ok: false, credentialed: false });
      this.#next += 2;
      return bytes;
    });
    this.#socket.write(Buffer.concat(requests));
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const end = at + FRAME_HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const stream = bytes.readUInt32BE(at + 5);
      const content = bytes.subarray(at + FRAME_HEAD_BYTES, end);
      this.#frame(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, stream, content);
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  #frame(type: number, flags: number, stream: number, content: Buffer): void {
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.settings && !isAck) {
      this.#socket.write(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
    } else if (type === FRAME.ping && !isAck) {
      this.#socket.write(frame(FRAME.ping, FLAG.ack, 0, content));
    } else if (type === FRAME.goaway) {
      this.#socket.destroy(new Error('GOAWAY'));
    } else if (type === FRAME.headers || type === FRAME.data || type === FRAME.reset) {
      this.#ofStream(type, flags, stream, content);
    }
  }

  #ofStream(type: number, flags: number, stream: number, content: Buffer): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    if (type === FRAME.headers) open.ok ||= isStatus200(content);
    else if (type === FRAME.data) open.credentialed ||= content.includes(SECRET_SEEN);
    else open.ok = false;
    if (type !== FRAME.reset && (flags & FLAG.endStream) === 0) return;
    this.#open.delete(stream);
    this.#onAnswer(open);
  }
}

/** The first field, behind changes of the table's size (RFC 7541 section 6.3). */
function isStatus200(block: Buffer): boolean {
  let at = 0;
  while (((block[at] ?? 0) & 0xe0) === 0x20) {
    const isLong = ((block[at] ?? 0) & 0x1f) === 0x1f;
    at++;
    if (!isLong) continue;
    while (((block[at] ?? 0) & 0x80) !== 0) at++;
    at++;
  }
  return block[at] === STATUS_200;
}
