// Request and response heads of HTTP/1.1 (RFC 9112 sections 2 to 7), sans-IO: bytes in, facts out.
// Strict where two readers could differ on where a message ends or whom it is for; it repairs
// nothing and never quotes a field's value in an error. The cost of a request hangs on this file:
// one scan over the bytes, one latin1 text, and slices of it.
import { type Code, SallyportError } from '../base/errors.ts';
import { HEAD_BYTES_MAX, TARGET_BYTES_MAX } from '../base/limits.ts';
import { Facts } from './facts.ts';
import {
  CR,
  hex,
  LF,
  listMembers,
  readFieldLines,
  type Section,
  SP,
  scanWhile,
  TARGET,
  TOKEN,
  VALUE,
} from './syntax.ts';

/** What both kinds of head tell about framing and connection. */
type Head = {
  /** 10 or 11. */
  readonly version: 10 | 11;
  /** name, value, name, value: names as received, values without OWS around them, latin1. */
  readonly fields: readonly string[];
  /** Octets from `start` up to the content, an empty line before the head included. */
  readonly headBytes: number;
  /** Octets of content; null when no Content-Length was sent. */
  readonly contentLength: number | null;
  /** Transfer-Encoding: chunked. Never together with contentLength. */
  readonly chunked: boolean;
  /** Options of Connection (RFC 9110 section 7.6.1), lower-case. */
  readonly connectionTokens: readonly string[];
  readonly keepAlive: boolean;
  /**
   * Value of Upgrade if Connection names it and the version is 1.1 (RFC 9110 section 7.8); of a request,
   * without protocols that would carry further ones.
   */
  readonly upgrade: string | null;
};

export type RequestHead = Head & {
  readonly method: string;
  /** As received, VCHAR without `#` and `\`; see target.ts. */
  readonly target: string;
  /** Value of Host as received; null when absent, which only HTTP/1.0 may do. */
  readonly host: string | null;
  /** The client waits for 100 (Continue) before it sends its content. */
  readonly expectContinue: boolean;
  readonly proxyAuthorization: string | null;
  /** TE names `trailers` (RFC 9110 section 10.1.4). */
  readonly teTrailers: boolean;
};

export type ResponseHead = Head & {
  /** 100..599 */
  readonly status: number;
  readonly reason: string;
};

const MALFORMED = 'SALLYPORT_REQUEST_MALFORMED';
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const VERSION_BYTES = 8;

/**
 * Reads the request head that begins at `start`; bytes from `end` on are not part of the input.
 *
 * @param scanned  where an earlier call on the same bytes gave up (its `end`), so that a head which
 *                 arrives in pieces is searched once.
 * @returns null when the head is incomplete.
 * @throws SALLYPORT_REQUEST_MALFORMED, SALLYPORT_URI_TOO_LONG, SALLYPORT_HEAD_TOO_LARGE,
 *   SALLYPORT_VERSION_UNSUPPORTED, SALLYPORT_CODING_UNKNOWN, SALLYPORT_EXPECTATION_FAILED.
 */
export function parseRequestHead(
  buffer: Buffer,
  start: number,
  end: number,
  scanned: number = start,
): RequestHead | null {
  // RFC 9112 section 2.2: one empty line before the request line is ignored; more are refused.
  const from =
    end - start >= 2 && buffer[start] === CR && buffer[start + 1] === LF ? start + 2 : start;
  const last = findEnd(buffer, start, from, end, scanned, MALFORMED);
  if (last < 0) return null;
  const section: Section = { buffer, text: buffer.toString('latin1', from, last), base: from };
  const methodEnd = scanWhile(buffer, from, TOKEN);
  const targetEnd = scanWhile(buffer, methodEnd + 1, TARGET);
  checkRequestLine(buffer, from, methodEnd, targetEnd);
  const version = readVersion(buffer, targetEnd + 1, MALFORMED);
  const lineEnd = targetEnd + 1 + VERSION_BYTES;
  if (buffer[lineEnd] !== CR || buffer[lineEnd + 1] !== LF) {
    throw new SallyportError(MALFORMED, `byte ${hex(buffer[lineEnd])} after the version`);
  }
  const method = section.text.slice(0, methodEnd - from);
  const fields: string[] = [];
  readFieldLines(section, lineEnd + 2, last + 2, fields, MALFORMED);
  const facts = new Facts(fields, version, MALFORMED);
  checkRequest(method, version, facts);
  const { contentLength, chunked } = facts;
  const hasContent = chunked || (contentLength !== null && contentLength > 0);
  return {
    method,
    target: section.text.slice(methodEnd + 1 - from, targetEnd - from),
    version,
    fields,
    headBytes: last + END_OF_HEAD.length - start,
    host: facts.host,
    contentLength,
    chunked,
    connectionTokens: facts.connectionTokens,
    // RFC 9112 section 9.3: a proxy keeps no connection to an HTTP/1.0 client.
    keepAlive: version === 11 && !facts.close,
    upgrade: withoutHttp(facts.upgrade),
    // RFC 9110 section 10.1.1: ignored from HTTP/1.0, and there is nothing to wait for.
    expectContinue: facts.expectContinue && version === 11 && hasContent,
    proxyAuthorization: facts.proxyAuthorization,
    teTrailers: facts.teTrailers,
  };
}

/**
 * Reads a response head, with the strictness of parseRequestHead. A status line without reason may
 * also lack the space before it, as many origins send it.
 *
 * @returns null when the head is incomplete.
 * @throws SALLYPORT_UPSTREAM_MALFORMED, whatever is wrong.
 */
export function parseResponseHead(
  buffer: Buffer,
  start: number,
  end: number,
  scanned: number = start,
): ResponseHead | null {
  try {
    return readResponse(buffer, start, end, scanned);
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new SallyportError('SALLYPORT_UPSTREAM_MALFORMED', error.message, { cause: error });
  }
}

function readResponse(
  buffer: Buffer,
  start: number,
  end: number,
  scanned: number,
): ResponseHead | null {
  const malformed = 'SALLYPORT_UPSTREAM_MALFORMED';
  const last = findEnd(buffer, start, start, end, scanned, malformed);
  if (last < 0) return null;
  const section: Section = { buffer, text: buffer.toString('latin1', start, last), base: start };
  const version = readVersion(buffer, start, malformed);
  const statusAt = VERSION_BYTES + 1;
  const code = section.text.slice(statusAt, statusAt + 3);
  const reasonAt = start + statusAt + 3;
  if (buffer[start + VERSION_BYTES] !== SP || !/^[1-5][0-9]{2}$/.test(code)) {
    throw new SallyportError(malformed, 'the status line has no status code of three digits');
  }
  const lineEnd = scanWhile(buffer, reasonAt, VALUE);
  if (buffer[lineEnd] !== CR || buffer[lineEnd + 1] !== LF) {
    throw new SallyportError(malformed, `byte ${hex(buffer[lineEnd])} in the status line`);
  }
  if (lineEnd > reasonAt && buffer[reasonAt] !== SP) {
    throw new SallyportError(malformed, `byte ${hex(buffer[reasonAt])} after the status code`);
  }
  const fields: string[] = [];
  readFieldLines(section, lineEnd + 2, last + 2, fields, malformed);
  const facts = new Facts(fields, version, malformed);
  return {
    status: Number(code),
    reason: section.text.slice(statusAt + 4, lineEnd - start),
    version,
    fields,
    headBytes: last + END_OF_HEAD.length - start,
    contentLength: facts.contentLength,
    chunked: facts.chunked,
    connectionTokens: facts.connectionTokens,
    keepAlive: !facts.close && (version === 11 || facts.keepAlive),
    upgrade: facts.upgrade,
  };
}

/** @returns where the CRLF CRLF that ends the head begins, or -1 when it has not come yet. */
function findEnd(
  buffer: Buffer,
  start: number,
  from: number,
  end: number,
  scanned: number,
  malformed: Code,
): number {
  const last = buffer.indexOf(END_OF_HEAD, Math.max(from, scanned - 3));
  const complete = last >= 0 && last + 4 <= end; // What lies behind `end` is not input.
  const headBytes = complete ? last + 4 - start : end - start + 1; // At least, when incomplete.
  if (headBytes > HEAD_BYTES_MAX) {
    checkTargetLength(buffer, from, Math.min(end, from + HEAD_BYTES_MAX));
    throw new SallyportError(
      'SALLYPORT_HEAD_TOO_LARGE',
      `the head exceeds ${HEAD_BYTES_MAX} bytes`,
    );
  }
  if (complete) return last;
  refuseHopeless(buffer, from, Math.max(from, scanned - 1), end, malformed);
  return -1;
}

/**
 * Looks at the part of an incomplete head that just came, so that a client which ends its lines
 * with LF, or does not speak HTTP at all, is answered now and not after the head's timeout.
 */
function refuseHopeless(
  buffer: Buffer,
  from: number,
  at: number,
  end: number,
  malformed: Code,
): void {
  const first = buffer[from];
  const emptyLine = first === CR && from + 1 === end; // May yet be the empty line before.
  if (from < end && TOKEN[first as number] !== 1 && !emptyLine) {
    throw new SallyportError(malformed, `byte ${hex(first)} where the start line begins`);
  }
  for (let i = at; i < end; i++) {
    const byte = buffer[i] as number;
    if (VALUE[byte] === 1) continue;
    const paired =
      byte === CR
        ? i + 1 === end || buffer[i + 1] === LF
        : byte === LF && i > from && buffer[i - 1] === CR;
    if (!paired)
      throw new SallyportError(malformed, `byte ${hex(byte)} in the head, or CR and LF apart`);
  }
}

/** Tells a target that is too long from a head that is. */
function checkTargetLength(buffer: Buffer, from: number, end: number): void {
  const space = buffer.indexOf(SP, from);
  if (space < 0 || space >= end) return;
  const next = scanWhile(buffer, space + 1, TARGET);
  if (next - space - 1 > TARGET_BYTES_MAX) throw targetTooLong();
}

function targetTooLong(): SallyportError {
  return new SallyportError(
    'SALLYPORT_URI_TOO_LONG',
    `the request target exceeds ${TARGET_BYTES_MAX} bytes`,
  );
}

/** RFC 9112 section 3: method SP request-target SP HTTP-version CRLF, with nothing more or less. */
function checkRequestLine(
  buffer: Buffer,
  from: number,
  methodEnd: number,
  targetEnd: number,
): void {
  if (methodEnd === from || buffer[methodEnd] !== SP) {
    throw new SallyportError(MALFORMED, `byte ${hex(buffer[methodEnd])} in or after the method`);
  }
  if (targetEnd - methodEnd - 1 > TARGET_BYTES_MAX) throw targetTooLong();
  if (targetEnd === methodEnd + 1 || buffer[targetEnd] !== SP) {
    throw new SallyportError(
      MALFORMED,
      `byte ${hex(buffer[targetEnd])} in or after the request target`,
    );
  }
}

/** RFC 9112 section 2.3: `HTTP/` DIGIT `.` DIGIT, upper-case. */
function readVersion(buffer: Buffer, at: number, malformed: Code): 10 | 11 {
  const digits = (buffer[at + 5] as number) * 256 + (buffer[at + 7] as number);
  const shaped =
    buffer[at] === 0x48 &&
    buffer[at + 1] === 0x54 &&
    buffer[at + 2] === 0x54 &&
    buffer[at + 3] === 0x50 &&
    buffer[at + 4] === 0x2f &&
    buffer[at + 6] === 0x2e;
  if (shaped && digits === 0x3131) return 11;
  if (shaped && digits === 0x3130) return 10;
  const text = buffer.toString('latin1', at, at + VERSION_BYTES);
  if (shaped && /^HTTP\/[0-9]\.[0-9]$/.test(text)) {
    throw new SallyportError('SALLYPORT_VERSION_UNSUPPORTED', `${text} is not spoken here`);
  }
  throw new SallyportError(malformed, 'the start line has no HTTP version in its place');
}

/** h2c and its drafts, HTTP/2.0, TLS/1.0 (RFC 2817) and the like. */
const CARRIES_REQUESTS = /^(?:h[23]c?|s?https?|tls|ssl)(?:[/-]|$)/i;

/** Behind such an upgrade requests would pass that nobody judges. Not to offer it is any proxy's right. */
function withoutHttp(upgrade: string | null): string | null {
  if (upgrade === null) return null;
  const others = listMembers(upgrade).filter((protocol) => !CARRIES_REQUESTS.test(protocol));
  return others.length === 0 ? null : others.join(', ');
}

function checkRequest(method: string, version: 10 | 11, facts: Facts): void {
  if (facts.host === null && version === 11) {
    throw new SallyportError(MALFORMED, 'HTTP/1.1 without a Host field');
  }
  const { chunked, contentLength } = facts;
  if (method === 'CONNECT' && (chunked || (contentLength !== null && contentLength > 0))) {
    throw new SallyportError(MALFORMED, 'CONNECT with content (RFC 9110 section 9.3.6)');
  }
}
