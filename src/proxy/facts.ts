// What the fields of a head say about framing and connection (RFC 9112 sections 6 and 9, RFC 9110
// sections 7.6 to 7.8 and 10.1). Ambiguity is refused here, so that nobody behind has to choose.
import { type Code, SallyportError } from '../base/errors.ts';
import { isDigits, isToken, listMembers } from './syntax.ts';

/**
 * Fields that Connection must not name: they hold for the recipient at the end, or delimit the
 * message. Dropping them on a client's word changes what the origin sees (RFC 9110 section 7.6.1).
 */
const END_TO_END: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'content-range',
  'authorization',
  'cookie',
  'set-cookie',
  'cache-control',
]);

/** Gathered in one pass over the fields; each is what the head's type says of it. */
export class Facts {
  host: string | null = null;
  contentLength: number | null = null;
  chunked = false;
  connectionTokens: string[] = NONE;
  close = false;
  keepAlive = false;
  upgrade: string | null = null;
  expectContinue = false;
  proxyAuthorization: string | null = null;
  teTrailers = false;
  #coding: string | null = null;
  readonly #malformed: Code;

  /**
   * @param fields  flat name, value.
   * @throws `malformed`, SALLYPORT_CODING_UNKNOWN, SALLYPORT_EXPECTATION_FAILED.
   */
  constructor(fields: readonly string[], version: 10 | 11, malformed: Code) {
    this.#malformed = malformed;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      // Most names differ in length from all that matter here, and cost one look.
      const known = KNOWN_BY_LENGTH[name.length];
      if (known === undefined) continue;
      if (name.toLowerCase() === known) this.#take(known, fields[i + 1] as string);
    }
    if (this.#coding !== null) this.#checkCoding(this.#coding, version);
    if (this.upgrade !== null && (version === 10 || !this.connectionTokens.includes('upgrade'))) {
      this.upgrade = null;
    }
  }

  #take(name: string, value: string): void {
    switch (name) {
      case 'host':
        this.host = this.#single(name, this.host, value);
        break;
      case 'content-length':
        if (this.contentLength !== null) throw this.#repeated(name);
        this.contentLength = this.#length(value);
        break;
      case 'transfer-encoding':
        this.#coding = joined(this.#coding, value);
        break;
      case 'connection':
        this.#connection(value);
        break;
      case 'upgrade':
        this.upgrade = joined(this.upgrade, value);
        break;
      case 'expect':
        this.#expect(value);
        break;
      case 'proxy-authorization':
        this.proxyAuthorization = this.#single(name, this.proxyAuthorization, value);
        break;
      case 'te':
        this.teTrailers ||= listMembers(value.toLowerCase()).includes('trailers');
        break;
    }
  }

  #single(name: string, before: string | null, value: string): string {
    if (before !== null) throw this.#repeated(name);
    return value;
  }

  #repeated(name: string): SallyportError {
    return new SallyportError(this.#malformed, `more than one ${name} field`);
  }

  /** RFC 9112 section 6.2: 1*DIGIT; a list, a sign or a value beyond 2^53 is refused. */
  #length(value: string): number {
    const length = Number(value);
    if (!isDigits(value) || !Number.isSafeInteger(length)) {
      throw new SallyportError(this.#malformed, 'content-length is not one decimal number');
    }
    return length;
  }

  #connection(value: string): void {
    const tokens = listMembers(value.toLowerCase());
    for (const token of tokens) {
      if (!isToken(token)) {
        throw new SallyportError(this.#malformed, 'connection holds what is not a token');
      }
      if (END_TO_END.has(token)) {
        throw new SallyportError(this.#malformed, `connection names ${token}, an end-to-end field`);
      }
      if (token === 'close') this.close = true;
      else if (token === 'keep-alive') this.keepAlive = true;
    }
    this.connectionTokens =
      this.connectionTokens === NONE ? tokens : [...this.connectionTokens, ...tokens];
  }

  #expect(value: string): void {
    if (value.toLowerCase() !== '100-continue') {
      throw new SallyportError(
        'SALLYPORT_EXPECTATION_FAILED',
        'expect holds something else than 100-continue',
      );
    }
    this.expectContinue = true;
  }

  /** RFC 9112 sections 6.1 and 6.3: `chunked`, once, alone, in HTTP/1.1. */
  #checkCoding(value: string, version: 10 | 11): void {
    if (version === 10) {
      throw new SallyportError(this.#malformed, 'transfer-encoding in HTTP/1.0');
    }
    if (this.contentLength !== null) {
      throw new SallyportError(this.#malformed, 'content-length together with transfer-encoding');
    }
    const codings = listMembers(value.toLowerCase());
    const first = codings.indexOf('chunked');
    if (codings.length === 0 || (first >= 0 && first < codings.length - 1)) {
      throw new SallyportError(
        this.#malformed,
        'transfer-encoding is empty, or chunked is repeated or not last',
      );
    }
    if (value.toLowerCase() !== 'chunked') {
      throw new SallyportError(
        'SALLYPORT_CODING_UNKNOWN',
        'transfer-encoding names something else than chunked',
      );
    }
    this.chunked = true;
  }
}

const NONE: string[] = [];

/** No two of the names have one length, so the length picks the only candidate. */
const KNOWN_BY_LENGTH: readonly (string | undefined)[] = Array.from({ length: 20 }, (_, length) =>
  [
    'te',
    'host',
    'expect',
    'upgrade',
    'connection',
    'content-length',
    'transfer-encoding',
    'proxy-authorization',
  ].find((name) => name.length === length),
);

function joined(before: string | null, value: string): string {
  return before === null ? value : `${before}, ${value}`;
}
