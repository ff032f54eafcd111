// Phase 5 of 5 for CONNECT and for upgraded connections: bytes both ways, blind, until both sides
// have ended. Nothing here looks at what passes.
import type { OnReadOpts, Socket } from 'node:net';
import {
  HALF_CLOSED_TIMEOUT_MS,
  TUNNEL_BUFFERS_LARGE_MAX,
  TUNNEL_BUFFERS_SPARE_MAX,
  TUNNEL_IDLE_TIMEOUT_MS,
  TUNNEL_READ_BYTES_MAX,
  TUNNEL_READ_BYTES_MIN,
  TUNNEL_WATCH_MS,
} from '../base/limits.ts';
import { reset } from './reset.ts';

/** What passed, kept up to date while the tunnel lives. */
export type Passage = { up: number; down: number; lastMs: number };

/** Coarse monotonic time, refreshed by the worker's sweep; exact time per read would cost more. */
export type Tick = { nowMs: number };

const NOTHING = Buffer.alloc(0);
// Of this worker thread, and bounded: memory that tunnels hand on, no state of any exchange. A fresh
// buffer for each tunnel was a sixth of what a short one costs (bench: connect).
const spareSmall: Buffer[] = [];
let largeInUse = 0;

/**
 * Reads of one tunnel's upstream go into one buffer, used again for each read: a fresh 64 KiB slab
 * per read costs more than the copy (bench: bulk). It starts small, so that an idle tunnel costs
 * little, and grows when reads fill it.
 */
export class Download {
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
 * Joins two connected sockets.
 *
 * @param client    the sandbox's side, no other listeners for data.
 * @param upstream  the destination's side; dialled with `download.onread` when `download` is given.
 * @param head      bytes that the client sent behind its CONNECT; they go first.
 * @returns when both directions have ended, or either side failed; both sockets are closed then.
 */
export function splice(
  client: Socket,
  upstream: Socket,
  download: Download | null,
  head: Buffer,
  passage: Passage,
  tick: Tick,
): Promise<Error | null> {
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  let failure: Error | null = null;
  let open = 2;
  const fail = (error: Error): void => {
    failure ??= error;
    reset(client);
    reset(upstream);
  };
  const closed = (): void => {
    if (--open > 0) return void (client.destroyed ? upstream : client).destroySoon();
    clearInterval(watch);
    download?.release();
    resolve(failure);
  };
  passage.lastMs = tick.nowMs;
  let ended = client.readableEnded ? 1 : 0;
  const watch = setInterval(() => {
    // Only now: a short tunnel does not pay four system calls for probes it never sends.
    for (const socket of [client, upstream]) socket.setKeepAlive(true, TUNNEL_WATCH_MS);
    const idleMs = ended > 0 ? HALF_CLOSED_TIMEOUT_MS : TUNNEL_IDLE_TIMEOUT_MS;
    if (tick.nowMs - passage.lastMs > idleMs) fail(idle());
  }, TUNNEL_WATCH_MS);
  for (const socket of [client, upstream]) {
    socket.once('end', () => ended++);
    socket.on('error', fail);
    socket.once('close', closed);
  }
  if (head.length > 0) {
    passage.up += head.length;
    upstream.write(head);
  }
  pump(client, upstream, (bytes) => {
    passage.up += bytes;
    passage.lastMs = tick.nowMs;
  });
  const counted = (bytes: number): void => {
    passage.down += bytes;
    passage.lastMs = tick.nowMs;
  };
  if (download === null) pump(upstream, client, counted);
  else pumpReused(upstream, client, download, counted);
  client.resume();
  upstream.resume();
  return promise;
}

function idle(): Error {
  return Object.assign(new Error('no byte passed for too long'), { code: 'IDLE' });
}

/** Back-pressure: a full sink stops the source until it has drained. */
function pump(source: Socket, sink: Socket, counted: (bytes: number) => void): void {
  source.on('data', (chunk: Buffer) => {
    counted(chunk.length);
    if (!sink.write(chunk) && sink.writableLength > 0) source.pause();
  });
  sink.on('drain', () => source.resume());
  endWith(source, sink);
}

/** A client may have sent all it has, and its FIN, while the destination was dialled. */
function endWith(source: Socket, sink: Socket): void {
  const end = (): void => {
    // When the other direction is over too, closing says FIN by itself: one system call less.
    if (sink.readableEnded && sink.writableLength === 0) sink.destroy();
    else sink.end();
  };
  if (source.readableEnded) end();
  else source.once('end', end);
}

/**
 * The same with a buffer that is used again. A write that the kernel took whole leaves
 * writableLength at 0, and the buffer is free at once; otherwise reading stops until it is.
 */
function pumpReused(
  source: Socket,
  sink: Socket,
  download: Download,
  counted: (bytes: number) => void,
): void {
  const resume = (): void => void source.resume();
  download.attach((chunk) => {
    counted(chunk.length);
    sink.write(chunk);
    if (sink.writableLength === 0) return true;
    sink.write(NOTHING, resume); // Its callback runs when all before it is out.
    return false;
  });
  endWith(source, sink);
}
