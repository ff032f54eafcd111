// Phase 5 of 5 for CONNECT and for upgraded connections: bytes both ways, blind, until both sides
// have ended. Nothing here knows what passes; only what a client begins with may be looked at.
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  HALF_CLOSED_TIMEOUT_MS,
  TUNNEL_FRESH_BYTES_MAX,
  TUNNEL_IDLE_TIMEOUT_MS,
  TUNNEL_WATCH_MS,
} from '../base/limits.ts';
import { ReadBuffer, readInto } from './read-buffer.ts';
import { reset } from './reset.ts';

/** What passed, kept up to date while the tunnel lives. */
export type Passage = { up: number; down: number; lastMs: number };

/** Coarse monotonic time, refreshed by the worker's sweep; exact time per read would cost more. */
export type Tick = { nowMs: number };

/**
 * What the first bytes of a client are worth, those that have come and have not passed yet: all pass and
 * nobody looks any more; so many of them pass, and more must be seen; or the tunnel ends with a last
 * word to the client.
 */
export type Look = (bytes: Buffer) => 'pass' | number | Refusal;

type Refusal = { readonly error: Error; readonly lastWord: Buffer | null };

const NOTHING = Buffer.alloc(0);

/**
 * Joins two connected sockets.
 *
 * @param client    the sandbox's side, no other listeners for data.
 * @param upstream  the destination's side; dialled with `download.onread` when `download` is given.
 * @param head      bytes that the client sent behind its CONNECT; they go first.
 * @param look      at what the client begins with; the other direction does not wait for it.
 * @returns when both directions have ended, or either side failed; both sockets are closed then.
 */
export function splice(
  client: Socket,
  upstream: Socket,
  download: ReadBuffer | null,
  head: Buffer,
  passage: Passage,
  tick: Tick,
  look: Look | null = null,
): Promise<Error | null> {
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  let failure: Error | null = null;
  const buffers = download === null ? [] : [download];
  let open = 2;
  const fail = (error: Error): void => {
    failure ??= error;
    reset(client);
    reset(upstream);
  };
  const closed = (): void => {
    if (--open > 0) return void (client.destroyed ? upstream : client).destroySoon();
    clearInterval(watch);
    for (const buffer of buffers) buffer.release();
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
  const countUp = counter(passage, 'up', tick);
  const countDown = counter(passage, 'down', tick);
  const send = sender(upstream, countUp);
  const begin = (bytes: Buffer): void => {
    send(bytes);
    pump(client, upstream, buffers, countUp);
  };
  const refuse = ({ error, lastWord }: Refusal): void => {
    failure ??= error;
    client.end(lastWord ?? NOTHING).destroySoon();
    reset(upstream);
  };
  if (look === null) begin(head);
  else lookFirst(client, head, look, { send, begin, refuse });
  if (download === null) pump(upstream, client, buffers, countDown);
  else pumpReused(upstream, client, download, countDown);
  endWith(client, upstream);
  endWith(upstream, client);
  client.resume();
  upstream.resume();
  return promise;
}

type Verdicts = {
  /** These pass. */
  readonly send: (bytes: Buffer) => void;
  /** These pass, and all behind them. */
  readonly begin: (bytes: Buffer) => void;
  readonly refuse: (refusal: Refusal) => void;
};

/** Holds back what the client begins with, until it is known to pass. */
function lookFirst(
  client: Socket,
  head: Buffer,
  look: Look,
  { send, begin, refuse }: Verdicts,
): void {
  let seen = head;
  const judge = (): void => {
    let verdict = look(seen);
    while (typeof verdict === 'number' && verdict > 0) {
      send(seen.subarray(0, verdict));
      seen = seen.subarray(verdict);
      verdict = look(seen);
    }
    if (typeof verdict === 'number') return;
    client.off('data', onData);
    if (verdict === 'pass') begin(seen);
    else refuse(verdict);
  };
  const onData = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    judge();
  };
  client.on('data', onData);
  judge();
}

/**
 * The same for a client whose side is no socket but a stream of HTTP/2.
 *
 * @returns when both directions have ended, or either side failed.
 */
export async function bridge(
  client: Duplex,
  upstream: Socket,
  passage: Passage,
  tick: Tick,
): Promise<Error | null> {
  passage.lastMs = tick.nowMs;
  const watch = setInterval(() => {
    if (tick.nowMs - passage.lastMs > TUNNEL_IDLE_TIMEOUT_MS) client.destroy(idle());
  }, TUNNEL_WATCH_MS);
  const countUp = counter(passage, 'up', tick);
  const countDown = counter(passage, 'down', tick);
  client.on('data', (chunk: Buffer) => countUp(chunk.length));
  upstream.on('data', (chunk: Buffer) => countDown(chunk.length));
  try {
    await Promise.all([pipeline(client, upstream), pipeline(upstream, client)]);
    return null; // Both close by themselves, when all of it is out.
  } catch (error) {
    client.destroy();
    upstream.destroy();
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    clearInterval(watch);
  }
}

type Count = (bytes: number) => void;

function counter(passage: Passage, direction: 'up' | 'down', tick: Tick): Count {
  return (bytes) => {
    passage[direction] += bytes;
    passage.lastMs = tick.nowMs;
  };
}

function sender(sink: Socket, counted: Count): (bytes: Buffer) => void {
  return (bytes) => {
    counted(bytes.length);
    if (bytes.length > 0) sink.write(bytes);
  };
}

function idle(): Error {
  return Object.assign(new Error('no byte passed for too long'), { code: 'IDLE' });
}

/**
 * Back-pressure: a full sink stops the source until it has drained. A source that brings much goes on
 * with a buffer that is used again; it is put into `buffers`.
 */
function pump(source: Socket, sink: Socket, buffers: ReadBuffer[], counted: Count): void {
  const resume = (): void => void source.resume();
  let fresh = 0;
  const onData = (chunk: Buffer): void => {
    counted(chunk.length);
    if (!sink.write(chunk) && sink.writableLength > 0) source.pause();
    fresh += chunk.length;
    // The stream must hold nothing back, or that would be overtaken.
    if (fresh > TUNNEL_FRESH_BYTES_MAX && source.readableLength === 0 && !source.isPaused())
      reuse();
  };
  const reuse = (): void => {
    fresh = Number.NEGATIVE_INFINITY; // Once.
    const buffer = new ReadBuffer();
    buffers.push(buffer);
    if (!readInto(source, buffer)) return;
    source.off('data', onData);
    sink.off('drain', resume);
    pumpReused(source, sink, buffer, counted);
  };
  source.on('data', onData);
  sink.on('drain', resume);
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
function pumpReused(source: Socket, sink: Socket, buffer: ReadBuffer, counted: Count): void {
  const resume = (): void => void source.resume();
  buffer.attach((chunk) => {
    counted(chunk.length);
    sink.write(chunk);
    if (sink.writableLength === 0) return true;
    sink.write(NOTHING, resume); // Its callback runs when all before it is out.
    return false;
  });
}
