// Durations as people type them.

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** `500ms`, `30s`, `2m`, `1h`. @returns milliseconds; null for anything else */
export function parseDuration(text: string): number | null {
  const found = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  if (found === null) return null;
  return Number(found[1]) * UNITS_MS[found[2] as keyof typeof UNITS_MS];
}

/** A duration, or days: `7d`. @returns milliseconds; null for anything else */
export function parseAge(text: string): number | null {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  return days === undefined ? parseDuration(text) : Number(days) * 24 * UNITS_MS.h;
}

/** How long to keep something: an age, or `forever`. @returns milliseconds, maybe infinite; or null */
export function parseKeep(text: string): number | null {
  return text === 'forever' ? Number.POSITIVE_INFINITY : parseAge(text);
}
