// Whom TLS speaks to must be whom CONNECT named. Only that name was judged, and behind the address it
// leads to others may answer: whatever else a shared front serves (domain fronting).
import { SallyportError } from '../base/errors.ts';
import { EARLY_DATA_BYTES_MAX } from '../base/limits.ts';
import { isAddress } from '../policy/address.ts';
import { type ClientHello, RECORD_HEAD_BYTES, readClientHello } from '../tls/client-hello.ts';
import type { Look } from './tunnel.ts';

/** Fatal alerts (RFC 8446 section 6.2), in a record of their own. */
const UNRECOGNIZED_NAME = Buffer.from([0x15, 3, 3, 0, 2, 2, 112]);
const DECODE_ERROR = Buffer.from([0x15, 3, 3, 0, 2, 2, 50]);

/** Types of records (RFC 8446 section 5.1). */
const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const HEARTBEAT = 24;
const CLIENT_HELLO = 1;
const CIPHERTEXT_BYTES_MAX = 18_432; // RFC 5246 section 6.2.3; RFC 8446 section 5.2 takes less.
const LENGTH_HIGH_MAX = 2; // Of the length's three bytes: OpenSSL takes up to 131,396.

/** @throws SALLYPORT_TLS_NAME_MISMATCH */
export function checkName({ serverName }: ClientHello, host: string): void {
  if (serverName === null && isAddress(host)) return;
  if (serverName === host) return;
  throw new SallyportError(
    'SALLYPORT_TLS_NAME_MISMATCH',
    `CONNECT named ${host}, and the ClientHello ${serverName ?? 'nobody'}`,
  );
}

/** @returns the last word to a client whose ClientHello was refused; null when it was something else */
export function alertFor(error: unknown): Buffer | null {
  const code = error instanceof SallyportError ? error.code : null;
  if (code === 'SALLYPORT_TLS_NAME_MISMATCH') return UNRECOGNIZED_NAME;
  return code === 'SALLYPORT_TLS_HELLO_INVALID' ? DECODE_ERROR : null;
}

/**
 * For tunnels that are relayed blind: a look at the ClientHello, if that is what the client begins
 * with, and at the second one, if a server may ask for it: OpenSSL's go by the name in that. Behind an
 * address any name may be: the address is what was judged.
 */
export function lookForName(host: string): Look | null {
  if (isAddress(host)) return null;
  let look: Step = (bytes) => {
    const isTls = beginsTls(bytes);
    if (isTls === null) return 0;
    if (!isTls) return 'pass';
    const hello = readClientHello(bytes);
    if (hello === null) return 0;
    checkName(hello, host);
    if (!hello.mayBeRetried) return 'pass';
    look = retryLook(host, hello);
    return hello.recordBytes;
  };
  return (bytes) => {
    try {
      return look(bytes);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      return { error, lastWord: alertFor(error) };
    }
  };
}

/** @throws SALLYPORT_TLS_NAME_MISMATCH, SALLYPORT_TLS_HELLO_INVALID */
type Step = (bytes: Buffer) => number | 'pass';

/**
 * Whether a server could take it for TLS; null when more must be seen. Some pass over what comes before
 * the ClientHello (Go's over alerts, of any version below 16), and some read the hello of SSL 2.0, which
 * names nobody: no client of today begins with either.
 */
function beginsTls(bytes: Buffer): boolean | null {
  const [type, major = 0, kind, version] = bytes;
  if (type === undefined) return null;
  if (type === HANDSHAKE) return true;
  const isOld = type >= 0x80;
  if (!isOld && (type < CHANGE_CIPHER_SPEC || type > HEARTBEAT)) return false;
  if (bytes.length < RECORD_HEAD_BYTES) return null;
  if (isOld) return kind === CLIENT_HELLO && version === 3;
  return major === 3 || (major < 16 && bytes.readUInt16BE(3) === 2);
}

/** Looks at each record behind the first ClientHello until it is clear that no second one comes. */
function retryLook(host: string, { earlyData }: ClientHello): Step {
  const parts: Buffer[] = [];
  let skipped = 0;
  return (bytes) => {
    if (bytes.length < RECORD_HEAD_BYTES) return 0;
    const length = bytes.readUInt16BE(3);
    if (!mayPrecede(bytes[0], length, earlyData)) return 'pass';
    const size = RECORD_HEAD_BYTES + length;
    if (bytes.length < size) return 0;
    if (bytes[0] === HANDSHAKE) return judgeHandshake(parts, bytes.subarray(0, size), host);
    skipped += size;
    return skipped > EARLY_DATA_BYTES_MAX ? enough(bytes[0], length) : size;
  };
}

/**
 * Whether a server may go on behind it: a handshake record, what those of TLS 1.3 pass over (RFC 8446
 * sections 4.2.10, 5 and 6.1), and older ones: empty records.
 */
function mayPrecede(type: number | undefined, length: number, earlyData: boolean): boolean {
  if (length > CIPHERTEXT_BYTES_MAX) return false;
  if (type === HANDSHAKE) return true;
  if (type === APPLICATION_DATA && length > 0) return earlyData;
  return length === 0 || type === CHANGE_CIPHER_SPEC || type === ALERT;
}

function enough(type: number | undefined, length: number): 'pass' {
  if (type === APPLICATION_DATA && length > 0) return 'pass'; // No server passes over so much.
  throw new SallyportError('SALLYPORT_TLS_HELLO_INVALID', 'no ClientHello: records without end');
}

/** A handshake record and those before it that one message may go through. */
function judgeHandshake(parts: Buffer[], record: Buffer, host: string): number | 'pass' {
  const message = record.subarray(RECORD_HEAD_BYTES);
  const [kind = CLIENT_HELLO, high = 0] = message;
  if (parts.length === 0 && (kind !== CLIENT_HELLO || high > LENGTH_HIGH_MAX)) return 'pass';
  parts.push(Buffer.from(record));
  // No server acts on a part of a message. Nor does one Finished in 20,000, which is encrypted where
  // TLS 1.2 resumes and may begin like this, differ from it: but no handshake record follows that.
  const need = message.length < 4 ? Number.POSITIVE_INFINITY : 4 + message.readUIntBE(1, 3);
  if (parts.length === 1 && message.length > 0 && message.length < need) return record.length;
  const hello = readClientHello(Buffer.concat(parts));
  if (hello === null) return record.length;
  checkName(hello, host);
  return 'pass';
}
