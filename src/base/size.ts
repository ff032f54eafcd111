// Sizes as people type them (IEC 80000-13).

const UNITS_BYTES = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** `500MiB`, `2GiB`. @returns bytes; null for anything else */
export function parseSize(text: string): number | null {
  const found = /^(\d{1,6})(KiB|MiB|GiB|TiB)$/.exec(text);
  if (found === null) return null;
  return Number(found[1]) * UNITS_BYTES[found[2] as keyof typeof UNITS_BYTES];
}
