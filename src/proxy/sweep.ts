// Ends what is silent for too long: one look a second at all connections of a worker.
import {
  EXCHANGE_IDLE_TIMEOUT_MS,
  HEAD_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  LINGER_MS,
} from '../base/limits.ts';
import type { Held, Phase } from './accept.ts';

const SILENT_MS_MAX: Readonly<Record<Phase, number>> = {
  idle: KEEP_ALIVE_TIMEOUT_MS,
  head: HEAD_TIMEOUT_MS,
  exchange: EXCHANGE_IDLE_TIMEOUT_MS,
  tunnel: Number.POSITIVE_INFINITY, // tunnel.ts watches its own.
};

/** @param nowMs  monotonic; the time that the connections count their silence in. */
export function sweep(connections: Iterable<Held>, nowMs: number): void {
  for (const connection of connections) {
    const silentMs = nowMs - connection.sinceMs;
    if (connection.draining && connection.phase === 'idle' && silentMs > LINGER_MS) {
      connection.socket.destroy();
    } else if (silentMs > SILENT_MS_MAX[connection.phase]) {
      connection.expire();
    } else {
      connection.watch?.();
    }
  }
}
