// A buffer that one tunnel direction reads into again and again: a fresh 64 KiB slab per read costs
// more than the bytes it carries (bench: bulk).
import type { OnReadOpts, Socket } from 'node:net';
import {
  TUNNEL_BUFFERS_LARGE_MAX,
  TUNNEL_BUFFERS_SPARE_MAX,
  TUNNEL_READ_BYTES_MAX,
  TUNNEL_READ_BYTES_MIN,
} from '../base/limits.ts';

const NOTHING = Buffer.alloc(0);
// Of this worker thread, and bounded: memory that tunnels hand on, no state of any exchange. A fresh
// buffer for each tunnel was a sixth of what a short one costs (bench: connect).
const spareSmall: Buffer[] = [];
let largeInUse = 0;

/** It starts small, so that an idle tunnel costs little, and grows when reads fill it. */
export class ReadBuffer {
  readonly onread: OnReadOpts;
  #buffer = spareSmall.pop() ?? Buffer.allocUnsafeSlow(TUNNEL_READ_BYTES_MIN);
  #grow = false;
  #large = false;
  #early: Buffer | null = null;
  #sink: ((chunk: Buffer) => boolean) | null = null;

  constructor() {
    this.onread = {
      buffer: () => this.#next(),
      callback: (bytes, buffer) => this.#deliver(bytes, buffer),
    };
  }

  /** Where reads go from now on; false from the sink stops reading until resume(). */
  attach(sink: (chunk: Buffer) => boolean): void {
    this.#sink = sink;
    if (this.#early !== null) sink(this.#early);
    this.#early = null;
  }

  /** Gives the buffer back; both sockets are closed, so nobody reads into it or writes from it. */
  release(): void {
    if (this.#large) largeInUse--;
    else if (spareSmall.length < TUNNEL_BUFFERS_SPARE_MAX) spareSmall.push(this.#buffer);
    this.#buffer = NOTHING;
  }

  #deliver(bytes: number, buffer: Uint8Array): boolean {
    this.#grow = bytes === buffer.byteLength;
    const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
    if (this.#sink !== null) return this.#sink(chunk);
    this.#early = Buffer.from(chunk); // The server spoke before the tunnel stood; once, as false stops reading.
    return false;
  }

  #next(): Uint8Array {
    if (this.#grow && !this.#large && largeInUse < TUNNEL_BUFFERS_LARGE_MAX) {
      this.#grow = false;
      this.#large = true;
      largeInUse++;
      this.#buffer = Buffer.allocUnsafeSlow(TUNNEL_READ_BYTES_MAX);
    }
    return this.#buffer;
  }
}

/**
 * Makes a socket that stands already read into `target` from now on. net has `onread` only for
 * sockets that are dialled; for one that was accepted, this sets what that option would have set.
 *
 * @returns false, and changes nothing, on a Node that keeps these things elsewhere.
 */
export function readInto(socket: Socket, { onread }: ReadBuffer): boolean {
  const [buffer, generator, callback] = ['kBuffer', 'kBufferGen', 'kBufferCb'].map((name) =>
    Object.getOwnPropertySymbols(socket).find(({ description }) => description === name),
  );
  const inner = socket as unknown as {
    _handle?: { useUserBuffer?: (memory: Uint8Array) => void } | null;
    [key: symbol]: unknown;
  };
  const handle = inner._handle;
  if (!buffer || !generator || !callback || typeof handle?.useUserBuffer !== 'function')
    return false;
  if (typeof onread.buffer !== 'function') return false;
  const memory = onread.buffer();
  inner[buffer] = memory;
  inner[generator] = onread.buffer;
  inner[callback] = onread.callback;
  handle.useUserBuffer(memory);
  return true;
}
