// The record of an exchange that a worker's death ended: what its in-flight slot tells, and no more.
import type { Outcome } from '../proxy/exchange.ts';
import { begunOutcome } from '../proxy/record.ts';
import type { Interrupted } from './inflight.ts';

/** @param nowMs  wall clock, milliseconds since the Unix epoch */
export function interruptedOutcome(one: Interrupted, nowMs: number): Outcome {
  const { method, host, port } = one;
  return {
    ...begunOutcome(one.slot, one.timeMs, one.ingress, { method, host, port, path: '' }),
    sandbox: one.sandbox,
    reason: 'the worker died during the exchange',
    code: 'SALLYPORT_INTERRUPTED',
    duration_ms: Math.max(0, nowMs - one.timeMs),
  };
}
