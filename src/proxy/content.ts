// Request content on its way from a client to whoever sends it on, at the pace of the slower.
import { Readable } from 'node:stream';
import { CONTENT_HELD_BYTES_MAX } from '../base/limits.ts';
import { Blocks } from './blocks.ts';

export class IncomingContent extends Readable {
  readonly #onWanted: () => void;
  readonly #held = new Blocks();
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
    this.#held.add(piece);
    return this.#held.bytes < CONTENT_HELD_BYTES_MAX;
  }

  /** That was all. */
  finish(): void {
    if (this.destroyed) return;
    this.#ended = true;
    if (this.#held.bytes === 0) this.push(null);
  }

  /** All of it, when its end has come and nobody has read any. */
  whole(): Buffer {
    const blocks = this.#held.takeAll();
    const [first] = blocks;
    return blocks.length === 1 && first !== undefined ? first : Buffer.concat(blocks);
  }

  override _read(): void {
    const block = this.#held.take();
    this.#wanted = block === undefined;
    if (block !== undefined) this.push(block);
    if (!this.#ended && this.#held.bytes < CONTENT_HELD_BYTES_MAX) this.#onWanted();
    else if (this.#ended && this.#held.bytes === 0) this.push(null);
  }
}
