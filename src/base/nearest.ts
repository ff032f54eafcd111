// The word that somebody meant: for keys and options that are typed by hand.

const DISTANCE_SHARE = 1 / 3; // Of the longer word's letters; further off, it would be a guess.

/** @returns that of the known words which the given one is probably a misspelling of, or null. */
export function nearest(given: string, known: readonly string[]): string | null {
  let best: { readonly word: string; readonly distance: number } | null = null;
  for (const word of known) {
    const far = DISTANCE_SHARE * Math.max(given.length, word.length);
    if (Math.abs(given.length - word.length) > far) continue;
    const distance = distanceOf(given.toLowerCase(), word.toLowerCase());
    if (distance > far) continue;
    if (best === null || distance < best.distance) best = { word, distance };
  }
  return best?.word ?? null;
}

/** How many letters have to be added, left out, changed or swapped with the next (optimal string alignment). */
function distanceOf(one: string, other: string): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const cost = one[row - 1] === other[column - 1] ? 0 : 1;
      const swaps =
        row > 1 && one[row - 2] === other[column - 1] && one[row - 1] === other[column - 2];
      current[column] = Math.min(
        at(last, column - 1) + cost,
        at(last, column) + 1,
        at(current, column - 1) + 1,
        swaps ? at(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = current;
  }
  return at(last, other.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
