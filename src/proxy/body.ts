// Request content (RFC 9112 sections 6 and 7), sans-IO: finds exactly where the content ends, hands
// its bytes on without copying, and encodes chunks for responses. Chunk extensions and trailers of
// requests are checked and dropped; nothing is kept between calls but a state and three counts.
import { SallyportError } from '../base/errors.ts';
import { CHUNK_LINE_BYTES_MAX, FIELDS_MAX, TRAILER_BYTES_MAX } from '../base/limits.ts';
import { COLON, CR, HTAB, hex, LF, SP, TOKEN, VALUE } from './syntax.ts';

/** How content is delimited (RFC 9112 section 6.3). */
export type Framing = 'none' | 'length' | 'chunked';

// Where the next byte stands. Every state between DATA and DONE reads one byte at a time.
const DATA = 0;
const SIZE = 1; // Before or within the hexadecimal size.
const SIZE_SPACE = 2; // BWS between the size and an extension.
const EXTENSION = 3;
const SIZE_LF = 4; // The LF that ends the size line.
const DATA_CR = 5; // The CRLF behind a chunk's data.
const DATA_LF = 6;
const TRAILER = 7; // The first byte of a trailer line, or the last CR.
const TRAILER_NAME = 8;
const TRAILER_VALUE = 9;
const TRAILER_LF = 10;
const LAST_LF = 11;
const DONE = 12;

const SIZE_BEFORE_DIGIT_MAX = Math.floor((Number.MAX_SAFE_INTEGER - 15) / 16);
const SEMICOLON = 0x3b;

/** One message's content. Not usable again once `push` has thrown. */
export class BodyDecoder {
  readonly #chunked: boolean;
  #state: number;
  /** Octets left of the content or the chunk; while a size is read, the size so far. */
  #left: number;
  #lineBytes = 0; // Of the chunk-size line; then of the whole trailer section.
  #digits = 0;
  #trailers = 0;

  /** @param contentLength  octets, for `length` alone. */
  constructor(framing: Framing, contentLength = 0) {
    this.#chunked = framing === 'chunked';
    this.#left = framing === 'length' ? contentLength : 0;
    if (this.#chunked) this.#state = SIZE;
    else this.#state = this.#left === 0 ? DONE : DATA;
  }

  /** Whether the last byte of the message has been consumed. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /**
   * Takes bytes from `start` to `end` as far as they belong to this message.
   *
   * @param onData  gets views of `buffer`, valid as long as the buffer is not written to.
   * @returns how many bytes were consumed; fewer than given only when done.
   * @throws SALLYPORT_REQUEST_MALFORMED, SALLYPORT_HEAD_TOO_LARGE (trailers).
   */
  push(buffer: Buffer, start: number, end: number, onData: (slice: Buffer) => void): number {
    let at = start;
    while (at < end && this.#state !== DONE) {
      if (this.#state !== DATA) {
        this.#state = this.#step(buffer[at] as number);
        at++;
        continue;
      }
      const stop = Math.min(end, at + this.#left);
      this.#left -= stop - at;
      if (this.#left === 0) this.#state = this.#chunked ? DATA_CR : DONE;
      onData(at === 0 && stop === buffer.length ? buffer : buffer.subarray(at, stop));
      at = stop;
    }
    return at - start;
  }

  /** @returns the state after one byte of chunk syntax. */
  #step(byte: number): number {
    switch (this.#state) {
      case SIZE:
        return this.#size(byte);
      case SIZE_SPACE:
      case EXTENSION:
        return this.#extension(byte);
      case SIZE_LF:
        expect(byte, LF, 'behind a chunk size');
        return this.#dataOrTrailers();
      case DATA_CR:
        expect(byte, CR, 'behind the data of a chunk');
        return DATA_LF;
      case DATA_LF:
        expect(byte, LF, 'behind the data of a chunk');
        return SIZE;
      case LAST_LF:
        expect(byte, LF, 'behind the last chunk');
        return DONE;
      default:
        return this.#trailer(byte);
    }
  }

  /** RFC 9112 section 7.1: 1*HEXDIG, no sign, no prefix, no space before. */
  #size(byte: number): number {
    this.#countLineByte();
    const digit = HEX[byte] as number;
    if (digit !== NOT_HEX) {
      if (this.#left > SIZE_BEFORE_DIGIT_MAX) throw malformed('a chunk size is too large');
      this.#left = this.#left * 16 + digit;
      this.#digits++;
      return SIZE;
    }
    if (this.#digits === 0) throw malformed(`byte ${hex(byte)} where a chunk size begins`);
    if (byte === CR) return SIZE_LF;
    if (byte === SEMICOLON) return EXTENSION;
    if (byte === SP || byte === HTAB) return SIZE_SPACE;
    throw malformed(`byte ${hex(byte)} in a chunk size`);
  }

  /** RFC 9112 section 7.1.1; unknown ones are ignored, and we know none. */
  #extension(byte: number): number {
    this.#countLineByte();
    if (this.#state === SIZE_SPACE) {
      if (byte === SEMICOLON) return EXTENSION;
      if (byte === SP || byte === HTAB) return SIZE_SPACE;
      throw malformed('space behind a chunk size, and no extension');
    }
    if (byte === CR) return SIZE_LF;
    if (VALUE[byte] === 1) return EXTENSION;
    throw malformed(`byte ${hex(byte)} in a chunk extension`);
  }

  #countLineByte(): void {
    if (++this.#lineBytes > CHUNK_LINE_BYTES_MAX) {
      throw malformed(`a chunk-size line exceeds ${CHUNK_LINE_BYTES_MAX} bytes`);
    }
  }

  #dataOrTrailers(): number {
    this.#lineBytes = 0;
    this.#digits = 0;
    return this.#left > 0 ? DATA : TRAILER;
  }

  /** RFC 9112 section 7.1.2; the rules of a head's field lines, a byte at a time. */
  #trailer(byte: number): number {
    this.#countTrailerByte();
    switch (this.#state) {
      case TRAILER:
        return this.#trailerLine(byte);
      case TRAILER_NAME:
        if (byte === COLON) return TRAILER_VALUE;
        if (TOKEN[byte] !== 1) throw malformed(`byte ${hex(byte)} in a trailer field name`);
        return TRAILER_NAME;
      case TRAILER_VALUE:
        if (byte === CR) return TRAILER_LF;
        if (VALUE[byte] !== 1) throw malformed(`byte ${hex(byte)} in a trailer field value`);
        return TRAILER_VALUE;
      default:
        expect(byte, LF, 'behind a trailer line');
        return TRAILER;
    }
  }

  #trailerLine(first: number): number {
    if (first === CR) return LAST_LF;
    if (TOKEN[first] !== 1) throw malformed(`byte ${hex(first)} where a trailer line begins`);
    this.#trailers++;
    return TRAILER_NAME;
  }

  #countTrailerByte(): void {
    if (++this.#lineBytes > TRAILER_BYTES_MAX || this.#trailers > FIELDS_MAX) {
      throw new SallyportError('SALLYPORT_HEAD_TOO_LARGE', 'the trailer section is too large');
    }
  }
}

const NOT_HEX = 255;
const HEX = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 ? NOT_HEX : digit;
});

function expect(byte: number, wanted: number, where: string): void {
  if (byte !== wanted) throw malformed(`byte ${hex(byte)} ${where}, in place of ${hex(wanted)}`);
}

function malformed(message: string): SallyportError {
  return new SallyportError('SALLYPORT_REQUEST_MALFORMED', message);
}

/** What stands before a chunk's data: its size in octets, at least 1 (0 would end the content). */
export function chunkHead(length: number): string {
  return `${length.toString(16)}\r\n`;
}

/** What stands behind a chunk's data. */
export const CHUNK_TAIL = '\r\n';

/** The last chunk and no trailers. */
export const CHUNK_END = '0\r\n\r\n';

/** The last chunk with `trailers`, serialised lines such as forwardTrailers in fields.ts gives. */
export function chunkEnd(trailers: string): string {
  return trailers === '' ? CHUNK_END : `0\r\n${trailers}\r\n`;
}
