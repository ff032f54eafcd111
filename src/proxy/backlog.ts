// What is written faster than it is taken. A Writable keeps an object for each piece that waits; here
// those behind the first few wait together.
import type { Writable } from 'node:stream';
import { CONTENT_PIECE_BYTES_MIN } from '../base/limits.ts';
import { Blocks } from './blocks.ts';

/** Writes one piece, and calls back when it is out. */
type Send = (piece: Buffer, onOut?: () => void) => void;

/** Whether a piece may be written as it is: nothing is in front of it, or it is large for an object. */
export function standsAlone(piece: Buffer, sink: Writable): boolean {
  return sink.writableLength === 0 || piece.length >= CONTENT_PIECE_BYTES_MIN;
}

export class Backlog {
  readonly #sink: Writable;
  readonly #send: Send;
  readonly #blocks = new Blocks();
  #isBehind = false; // A small piece is on its way that was not the only one; others wait for it.

  /** @param send  writes to the sink; in place of writing the piece as it is. */
  constructor(sink: Writable, send: Send = (piece, onOut) => void sink.write(piece, onOut)) {
    this.#sink = sink;
    this.#send = send;
  }

  /** @returns false when no more is wanted before the sink's 'drain'; what comes all the same is taken. */
  push(piece: Buffer): boolean {
    const sink = this.#sink;
    if (this.#isBehind) {
      this.#blocks.add(piece);
    } else if (standsAlone(piece, sink)) {
      this.#send(piece);
    } else {
      this.#isBehind = true;
      this.#send(piece, this.#onOut);
    }
    // What the kernel took at once needs no waiting, though write() counts it and says stop.
    const isFull = sink.writableNeedDrain && sink.writableLength > 0;
    return !isFull && this.#blocks.bytes < sink.writableHighWaterMark;
  }

  /** Hands all to the sink: its end comes next. */
  flush(): void {
    if (this.#blocks.bytes === 0) return;
    const blocks = this.#blocks.takeAll();
    if (this.#sink.destroyed) return;
    this.#sink.cork(); // Together they are what 'drain' comes after.
    for (const block of blocks) this.#send(block);
    this.#sink.uncork();
  }

  readonly #onOut = (): void => {
    this.#isBehind = false;
    this.flush();
  };
}
