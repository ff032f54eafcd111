// How a batch of outcomes crosses from a worker to the daemon: numbers in one array, each distinct
// string once. Cloning them as objects cost four times as much, on both threads, for every request.
import type { Outcome } from '../proxy/exchange.ts';

/** Columns of one outcome: numbers as they are, strings as places in `words`. */
export type OutcomeBatch = {
  readonly words: readonly (string | null)[];
  readonly cells: Float64Array;
};

const NUMBERS = [
  'slot',
  'time_ms',
  'port',
  'masked',
  'status',
  'bytes_up',
  'bytes_down',
  'decide_ms',
  'connect_ms',
  'duration_ms',
  'generation',
] as const satisfies readonly (keyof Outcome)[];

const WORDS = [
  'sandbox',
  'ingress',
  'mode',
  'method',
  'host',
  'address',
  'verdict',
  'deny_kind',
  'rule',
  'source',
  'reason',
  'code',
  'injected',
  'bypass',
  'path',
] as const satisfies readonly (keyof Outcome)[];

const CELLS = NUMBERS.length + WORDS.length;

/** @returns the batch, to be posted with its `cells.buffer` transferred. */
export function encodeOutcomes(outcomes: readonly Outcome[]): OutcomeBatch {
  const cells = new Float64Array(outcomes.length * CELLS);
  const words: (string | null)[] = [];
  const places = new Map<string | null, number>();
  let at = 0;
  for (const outcome of outcomes) {
    for (const field of NUMBERS) cells[at++] = outcome[field];
    for (const field of WORDS) {
      const word = outcome[field];
      let place = places.get(word);
      if (place === undefined) {
        place = words.push(word) - 1;
        places.set(word, place);
      }
      cells[at++] = place;
    }
  }
  return { words, cells };
}

/** The outcomes of a batch, in their order. */
export function decodeOutcomes({ words, cells }: OutcomeBatch): Outcome[] {
  const outcomes: Outcome[] = [];
  for (let at = 0; at < cells.length; at += CELLS) {
    const n = (i: number): number => cells[at + i] ?? 0;
    const w = (i: number): string | null => words[cells[at + NUMBERS.length + i] ?? 0] ?? null;
    // Spelled out: the same hidden class for every outcome is what makes reading them cheap.
    outcomes.push({
      slot: n(0),
      time_ms: n(1),
      sandbox: w(0) ?? '',
      ingress: w(1) as Outcome['ingress'],
      mode: w(2) as Outcome['mode'],
      method: w(3) ?? '',
      path: w(14),
      host: w(4) ?? '',
      port: n(2),
      address: w(5),
      verdict: w(6) as Outcome['verdict'],
      deny_kind: w(7) as Outcome['deny_kind'],
      rule: w(8),
      source: w(9) as Outcome['source'],
      reason: w(10),
      code: w(11) as Outcome['code'],
      injected: w(12),
      bypass: w(13),
      masked: n(3),
      status: n(4),
      bytes_up: n(5),
      bytes_down: n(6),
      decide_ms: n(7),
      connect_ms: n(8),
      duration_ms: n(9),
      generation: n(10),
    });
  }
  return outcomes;
}
