// Bytes that wait, kept in few pieces however many they came in: as an object each, bytes that come in
// chunks or frames of their own would take two hundred times their size.
import {
  CONTENT_BLOCK_BYTES,
  CONTENT_PIECE_BYTES_MIN,
  CONTENT_REST_BYTES,
} from '../base/limits.ts';

const NOTHING = Buffer.alloc(0);

export class Blocks {
  #blocks: Buffer[] = []; // In front of what is in #tail.
  #tail = NOTHING;
  #tailBytes = 0;
  bytes = 0;

  add(piece: Buffer): void {
    const isApart = piece.length >= CONTENT_PIECE_BYTES_MIN || this.bytes === 0;
    this.bytes += piece.length;
    if (isApart) {
      this.#closeTail();
      this.#blocks.push(piece);
      return;
    }
    for (let at = 0; at < piece.length; ) {
      if (this.#tailBytes === this.#tail.length) {
        const isFirst = this.#tail.length === 0;
        this.#closeTail();
        this.#tail = Buffer.allocUnsafeSlow(isFirst ? CONTENT_REST_BYTES : CONTENT_BLOCK_BYTES);
      }
      const copied = piece.copy(this.#tail, this.#tailBytes, at);
      this.#tailBytes += copied;
      at += copied;
    }
  }

  /** The first that waits; undefined when nothing does. */
  take(): Buffer | undefined {
    if (this.#blocks.length === 0) this.#closeTail();
    const block = this.#blocks.shift();
    this.bytes -= block?.length ?? 0;
    return block;
  }

  takeAll(): Buffer[] {
    this.#closeTail();
    const all = this.#blocks;
    this.#blocks = [];
    this.bytes = 0;
    return all;
  }

  #closeTail(): void {
    if (this.#tailBytes > 0) this.#blocks.push(this.#tail.subarray(0, this.#tailBytes));
    this.#tail = NOTHING;
    this.#tailBytes = 0;
  }
}
