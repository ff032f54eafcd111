// Request content on its way from a client to whoever sends it on, at the pace of the slower. What waits
// here is kept in few pieces, however many it came in: as an object each, bytes that come in chunks or
// frames of their own would take two hundred times their size.
import { Readable } from 'node:stream';
import { CONTENT_BLOCK_BYTES, CONTENT_HELD_BYTES_MAX } from '../base/limits.ts';

const NOTHING = Buffer.alloc(0);

export class IncomingContent extends Readable {
  readonly #onWanted: () => void;
  #blocks: Buffer[] = []; // In front of what is in #tail.
  #tail = NOTHING;
  #tailBytes = 0;
  #held = 0;
  #wanted = false;
  #ended = false;

  /** @param onWanted  there is room for more. */
  constructor(onWanted: () => void) {
    super({ highWaterMark: 1 }); // What is read ahead stays here.
    this.#onWanted = onWanted;
    this.on('error', () => {}); // Whoever reads it is told; nobody may be reading yet.
  }

  /** @returns false when no more is wanted for now; what comes all the same is taken. */
  add(piece: Buffer): boolean {
    if (this.destroyed) return false;
    if (this.#wanted) {
      this.#wanted = false;
      this.push(piece);
      return true;
    }
    this.#keep(piece);
    return this.#held < CONTENT_HELD_BYTES_MAX;
  }

  /** That was all. */
  finish(): void {
    if (this.destroyed) return;
    this.#ended = true;
    if (this.#held === 0) this.push(null);
  }

  /** All of it, when its end has come and nobody has read any. */
  whole(): Buffer {
    this.#closeTail();
    const [first] = this.#blocks;
    return this.#blocks.length === 1 && first !== undefined ? first : Buffer.concat(this.#blocks);
  }

  override _read(): void {
    if (this.#blocks.length === 0) this.#closeTail();
    const block = this.#blocks.shift();
    this.#wanted = block === undefined;
    this.#held -= block?.length ?? 0;
    if (block !== undefined) this.push(block);
    if (!this.#ended && this.#held < CONTENT_HELD_BYTES_MAX) this.#onWanted();
    else if (this.#ended && this.#held === 0) this.push(null);
  }

  #keep(piece: Buffer): void {
    const isApart = piece.length >= CONTENT_BLOCK_BYTES || this.#held === 0;
    this.#held += piece.length;
    if (isApart) {
      this.#closeTail();
      this.#blocks.push(piece);
      return;
    }
    for (let at = 0; at < piece.length; ) {
      if (this.#tailBytes === this.#tail.length) {
        this.#closeTail();
        this.#tail = Buffer.allocUnsafeSlow(CONTENT_BLOCK_BYTES);
      }
      const copied = piece.copy(this.#tail, this.#tailBytes, at);
      this.#tailBytes += copied;
      at += copied;
    }
  }

  #closeTail(): void {
    if (this.#tailBytes > 0) this.#blocks.push(this.#tail.subarray(0, this.#tailBytes));
    this.#tail = NOTHING;
    this.#tailBytes = 0;
  }
}
