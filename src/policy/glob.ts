// Globs within one label: `*`, `?`, `[ab]`, `[a-c]`, `[!ab]`. Patterns come from whoever may write
// rules, so they are read one step at a time: an expression for the whole could be made to backtrack
// for ever.
import { LABEL_BYTES_MAX } from '../base/limits.ts';

/** `*`, or one character: in (negated: outside) one of the ranges. */
export type GlobStep =
  | '*'
  | {
      readonly negated: boolean;
      readonly ranges: readonly (readonly [from: string, to: string])[];
    };

/** Whether a label of a resource is a pattern. */
export function isGlob(label: string): boolean {
  return /[*?[]/.test(label);
}

/**
 * Reads a pattern in lower case.
 *
 * @returns its steps, or what is wrong with it.
 */
export function readGlob(label: string): GlobStep[] | string {
  const steps: GlobStep[] = [];
  const reader = /\*|\?|[a-z0-9-]|\[!?[a-z0-9-]+\]/y;
  while (reader.lastIndex < label.length) {
    const start = reader.lastIndex;
    const found = reader.exec(label);
    if (found === null) return faultAt(label, start);
    const step = readStep(found[0]);
    if (typeof step === 'string' && step !== '*') return step;
    steps.push(step);
  }
  const shortest = steps.filter((step) => step !== '*').length;
  return shortest > LABEL_BYTES_MAX ? `it matches no label of ${LABEL_BYTES_MAX} bytes` : steps;
}

function readStep(text: string): GlobStep | string {
  if (text === '*') return '*';
  if (text === '?') return { negated: true, ranges: [] };
  if (!text.startsWith('[')) return { negated: false, ranges: [[text, text]] };
  const negated = text.startsWith('[!');
  const ranges: [string, string][] = [];
  // A hyphen between two others is a range; at either end it is a hyphen.
  for (const [one, from = one, to = one] of text
    .slice(negated ? 2 : 1, -1)
    .matchAll(/([a-z0-9])-([a-z0-9])|[a-z0-9-]/g)) {
    if (from > to) return `the range ${one} runs backwards`;
    ranges.push([from, to]);
  }
  return { negated, ranges };
}

function faultAt(label: string, start: number): string {
  if (label.charAt(start) !== '[') {
    return `${JSON.stringify(label.charAt(start))} is no letter, digit, hyphen, *, ? or [ab]`;
  }
  return 'a [ opens one or more letters, digits and hyphens, then ]';
}
