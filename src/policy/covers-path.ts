// Whether one path pattern covers all that another does; yes only when it is proven.

/** Every path that `inner` matches, `outer` matches too. Both as policy/http.ts has them. */
export function pathCovers(outer: string, inner: string): boolean {
  const [own, other] = [outer.slice(1).split('/'), inner.slice(1).split('/')];
  return sequenceCovers(own, other, {
    isMany: (segment) => segment === '**',
    one: segmentCovers,
  });
}

/** `*` is a segment that is not empty; within a segment it is any letters. */
function segmentCovers(outer: string, inner: string): boolean {
  if (outer === '*') return inner !== '';
  // A lone `*` is never empty, and `*a*` may be all of it, but nothing here needs to prove that.
  return sequenceCovers([...outer], [...inner], {
    isMany: (letter) => letter === '*',
    one: (own, other) => own === other,
  });
}

type Reading = {
  /** Whether an element stands for any number of others. */
  readonly isMany: (element: string) => boolean;
  /** Whether an element that does not covers another that does not. */
  readonly one: (outer: string, inner: string) => boolean;
};

/**
 * Lays `outer` along `inner`: what stands for many may take any stretch of it, and only that may take
 * what stands for many there.
 */
function sequenceCovers(
  outer: readonly string[],
  inner: readonly string[],
  { isMany, one }: Reading,
): boolean {
  // behind[j]: whether what is left of `outer` covers `inner` from j on.
  let behind = Array.from({ length: inner.length + 1 }, (_, j) => j === inner.length);
  for (const element of outer.toReversed()) {
    const row = new Array<boolean>(inner.length + 1).fill(false);
    for (let j = inner.length; j >= 0; j--) {
      const other = inner[j];
      if (isMany(element)) row[j] = behind[j] === true || row[j + 1] === true;
      else if (other !== undefined && !isMany(other)) {
        row[j] = one(element, other) && behind[j + 1] === true;
      }
    }
    behind = row;
  }
  return behind[0] === true;
}
