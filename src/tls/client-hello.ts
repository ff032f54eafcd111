// The first message of a TLS client (RFC 8446 section 4.1.2), read without consuming it: bytes in,
// facts out. Strict: what two readers could read differently is refused.
import { SallyportError } from '../base/errors.ts';
import { CLIENT_HELLO_BYTES_MAX, HOST_BYTES_MAX } from '../base/limits.ts';

export type ClientHello = {
  /** Lower-case (RFC 6066 section 3); null when none was sent. */
  readonly serverName: string | null;
  /** Protocols offered (RFC 7301), in the client's order. */
  readonly alpn: readonly string[];
  /** An Encrypted ClientHello, or its grease: the name above is the outer one either way. */
  readonly encryptedClientHello: boolean;
  /** Whether a second one may follow, which a server of TLS 1.3 asks for (RFC 8446 section 4.1.4). */
  readonly mayBeRetried: boolean;
  /** Whether data may come before that (RFC 8446 section 4.2.10). */
  readonly earlyData: boolean;
  /** Octets of the records that it came in. */
  readonly recordBytes: number;
};

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
export const RECORD_HEAD_BYTES = 5;
const RECORD_BYTES_MAX = 16_384;
const RECORDS_MAX = 8; // Clients use one, or two; each more is looked at again with each byte that comes.
const SERVER_NAME = 0;
const ALPN = 16;
const EARLY_DATA = 42;
const SUPPORTED_VERSIONS = 43;
const ECH = 0xfe0d;

/**
 * @param bytes  the stream from its first byte.
 * @returns null when more bytes are needed.
 * @throws SALLYPORT_TLS_HELLO_INVALID, as soon as it is certain
 */
export function readClientHello(bytes: Buffer): ClientHello | null {
  const found = messageOf(bytes);
  return found === null ? null : { ...readMessage(found.message), recordBytes: found.recordBytes };
}

type Found = { readonly message: Buffer; readonly recordBytes: number };

/** Joins the handshake fragments of one or more records (RFC 8446 section 5.1). */
function messageOf(bytes: Buffer): Found | null {
  const fragments: Buffer[] = [];
  for (let at = 0; fragments.length < RECORDS_MAX; ) {
    const fragment = recordAt(bytes, at);
    if (fragment === null) return null;
    fragments.push(fragment);
    at += RECORD_HEAD_BYTES + fragment.length;
    const message = joined(fragments);
    const need = message.length < 4 ? Number.POSITIVE_INFINITY : 4 + lengthOf(message);
    if (message.length > need) throw invalid('another message begins in its record');
    if (message.length === need) return { message: message.subarray(4), recordBytes: at };
  }
  throw invalid(`it is cut into more than ${RECORDS_MAX} records`);
}

/** @returns null when it is not all there. */
function recordAt(bytes: Buffer, at: number): Buffer | null {
  if (bytes.length > at && bytes[at] !== HANDSHAKE) throw invalid('it is no handshake record');
  if (bytes.length > at + 1 && bytes[at + 1] !== 3) throw invalid('the record version is unknown');
  if (bytes.length < at + RECORD_HEAD_BYTES) return null;
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > RECORD_BYTES_MAX)
    throw invalid('a record has no length that may be');
  const fragment = bytes.subarray(at + RECORD_HEAD_BYTES, at + RECORD_HEAD_BYTES + length);
  return fragment.length < length ? null : fragment;
}

function joined(fragments: readonly Buffer[]): Buffer {
  const [first] = fragments;
  return fragments.length === 1 && first !== undefined ? first : Buffer.concat(fragments);
}

function lengthOf(head: Buffer): number {
  if (head[0] !== CLIENT_HELLO) throw invalid('the first handshake message is another one');
  const length = head.readUIntBE(1, 3);
  if (length > CLIENT_HELLO_BYTES_MAX)
    throw invalid(`it is longer than ${CLIENT_HELLO_BYTES_MAX} bytes`);
  return length;
}

function readMessage(message: Buffer): Omit<ClientHello, 'recordBytes'> {
  const reader = new Reader(message);
  if (reader.uint(2) >> 8 !== 3) throw invalid('the version is unknown');
  reader.bytes(32); // random
  reader.vector(1); // legacy_session_id
  if (reader.vector(2).length === 0) throw invalid('there are no cipher suites');
  if (reader.vector(1).length === 0) throw invalid('there are no compression methods');
  const extensions = reader.ended ? new Map<number, Buffer>() : readExtensions(reader.vector(2));
  if (!reader.ended) throw invalid('bytes are left behind the extensions');
  const name = extensions.get(SERVER_NAME);
  const alpn = extensions.get(ALPN);
  return {
    serverName: name === undefined ? null : readServerName(name),
    alpn: alpn === undefined ? [] : readProtocols(alpn),
    encryptedClientHello: extensions.has(ECH),
    mayBeRetried: extensions.has(SUPPORTED_VERSIONS),
    earlyData: extensions.has(EARLY_DATA),
  };
}

function readExtensions(bytes: Buffer): Map<number, Buffer> {
  const reader = new Reader(bytes);
  const extensions = new Map<number, Buffer>();
  while (!reader.ended) {
    const type = reader.uint(2);
    if (extensions.has(type)) throw invalid(`extension ${type} stands there twice`);
    extensions.set(type, reader.vector(2));
  }
  return extensions;
}

function readServerName(bytes: Buffer): string {
  const list = new Reader(new Reader(bytes).whole(2));
  if (list.uint(1) !== 0) throw invalid('the server name is no host name');
  const name = list.vector(2).toString('latin1').toLowerCase();
  if (!list.ended) throw invalid('there is more than one server name');
  if (name.length > HOST_BYTES_MAX || !/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(name)) {
    throw invalid('the server name is not one in ASCII, without a dot at its end');
  }
  if (/(^|\.)\d+$/.test(name)) throw invalid('the server name is an address (RFC 6066 section 3)');
  return name;
}

function readProtocols(bytes: Buffer): string[] {
  const list = new Reader(new Reader(bytes).whole(2));
  const protocols: string[] = [];
  while (!list.ended) {
    const name = list.vector(1);
    if (name.length === 0) throw invalid('a protocol name is empty');
    protocols.push(name.toString('latin1'));
  }
  return protocols;
}

/** Takes parts off the front; a part that is not all there is a fault. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length;
  }

  uint(size: number): number {
    return this.bytes(size).readUIntBE(0, size);
  }

  bytes(count: number): Buffer {
    const part = this.#bytes.subarray(this.#at, this.#at + count);
    if (part.length < count) throw invalid('a length in it goes beyond its end');
    this.#at += count;
    return part;
  }

  /** @param size  of the length in front, bytes */
  vector(size: number): Buffer {
    return this.bytes(this.uint(size));
  }

  /** A vector that is all there is. */
  whole(size: number): Buffer {
    const part = this.vector(size);
    if (!this.ended) throw invalid('bytes are left behind a list');
    return part;
  }
}

function invalid(why: string): SallyportError {
  return new SallyportError('SALLYPORT_TLS_HELLO_INVALID', `no ClientHello: ${why}`);
}
