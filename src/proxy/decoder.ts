// Content that comes in a content coding (RFC 9110 section 8.4.1), undone while it streams, at the pace
// of the slowest and within bounds.
import type { Transform } from 'node:stream';
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  constants as zlib,
} from 'node:zlib';
import { SallyportError } from '../base/errors.ts';
import {
  SCRUB_DECODED_BYTES_MAX,
  SCRUB_RATIO_MAX,
  SCRUB_ZSTD_WINDOW_LOG_MAX,
} from '../base/limits.ts';

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  // Of its own accord zlib would hold up to 128 MiB for each answer.
  zstd: () =>
    createZstdDecompress({ params: { [zlib.ZSTD_d_windowLogMax]: SCRUB_ZSTD_WINDOW_LOG_MAX } }),
};

/** What can be made to wait. */
export type Flow = { readonly paused: boolean; pause(): void; resume(): void };

type Sink = {
  readonly data: (chunk: Buffer) => void;
  readonly end: () => void;
  readonly error: (error: Error) => void;
};

/** @param coding  in lower case */
export function isDecodable(coding: string): boolean {
  return Object.hasOwn(DECODERS, coding);
}

export class Decoder implements Flow {
  readonly #transform: Transform;
  readonly #origin: Flow;
  readonly #sink: Sink;
  #coded = 0;
  #decoded = 0;
  #isWhole = false;

  /**
   * @param coding  one that isDecodable.
   * @param origin  made to wait while the decoder is full.
   * @param sink    told of an error once at least: SALLYPORT_UPSTREAM_MALFORMED.
   */
  constructor(coding: string, origin: Flow, sink: Sink) {
    const create = DECODERS[coding];
    if (create === undefined) throw new TypeError(`no decoder for ${coding}`);
    const transform = create();
    this.#transform = transform;
    this.#origin = origin;
    this.#sink = sink;
    transform.on('data', (chunk: Buffer) => this.#receive(chunk));
    transform.on('drain', () => origin.resume());
    transform.on('end', () => this.#ended());
    transform.on('error', (cause) => sink.error(broken('cannot be decoded', cause)));
  }

  get paused(): boolean {
    return this.#transform.isPaused();
  }

  pause(): void {
    this.#transform.pause();
  }

  resume(): void {
    this.#transform.resume();
  }

  write(chunk: Buffer): void {
    this.#coded += chunk.length;
    if (this.#transform.readableEnded) return; // Behind the end of the coded content.
    if (!this.#transform.write(chunk)) this.#origin.pause();
  }

  /** All of the coded content is there. */
  end(): void {
    this.#isWhole = true;
    // Some send a coding with no content at all.
    if (this.#transform.readableEnded || this.#coded === 0) this.#sink.end();
    else this.#transform.end();
  }

  destroy(): void {
    this.#transform.destroy();
  }

  #ended(): void {
    if (this.#isWhole) this.#sink.end();
  }

  #receive(chunk: Buffer): void {
    this.#decoded += chunk.length;
    const isBomb =
      this.#decoded > SCRUB_DECODED_BYTES_MAX && this.#decoded > this.#coded * SCRUB_RATIO_MAX;
    if (isBomb) this.#sink.error(broken('grows out of proportion when it is decoded'));
    else this.#sink.data(chunk);
  }
}

function broken(what: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_UPSTREAM_MALFORMED', `the content ${what}`, { cause });
}
