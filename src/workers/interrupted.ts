// The record of an exchange that a worker's death ended: what its in-flight slot tells, and no more.
import type { Outcome } from '../proxy/exchange.ts';
import type { Interrupted } from './inflight.ts';

/** @param nowMs  wall clock, milliseconds since the Unix epoch */
export function interruptedOutcome(one: Interrupted, nowMs: number): Outcome {
  return {
    slot: one.slot,
    time_ms: one.timeMs,
    sandbox: one.sandbox,
    ingress: one.ingress,
    mode: one.method === 'CONNECT' ? 'forward-bypass' : 'forward',
    method: one.method,
    path: null,
    host: one.host,
    port: one.port,
    address: null,
    verdict: 'none',
    deny_kind: null,
    rule: null,
    source: null,
    reason: 'the worker died during the exchange',
    code: 'SALLYPORT_INTERRUPTED',
    bypass: null,
    injected: null,
    masked: 0,
    status: 0,
    bytes_up: 0,
    bytes_down: 0,
    decide_ms: 0,
    connect_ms: 0,
    duration_ms: Math.max(0, nowMs - one.timeMs),
    generation: 0,
  };
}
