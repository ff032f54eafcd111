// Bytes that come in pieces, held as one. In a list each piece would be a Buffer of its own, which takes
// some 270 bytes: whoever sends one byte at a time would have that many times more held than is allowed.

const FIRST_BYTES = 1_024;

export class Gathering {
  #room = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies a piece; there is room for at most twice what came. */
  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#room.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#room.length, FIRST_BYTES));
      room.set(this.bytes());
      this.#room = room;
    }
    this.#room.set(piece, this.#length);
    this.#length = length;
  }

  /** @returns all of it; what is added later is not in it. */
  bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  clear(): void {
    this.#room = Buffer.alloc(0);
    this.#length = 0;
  }
}
