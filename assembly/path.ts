// Matches a path against a pattern. Only the last star and the last ** are returned to, and what lies
// between two of them matches at its first place: the work is at most path times pattern.
import { PATH_DEEP, PATH_END, PATH_ONE, PATH_STAR } from './layout';

const SLASH: u8 = 47;

let p: usize = 0; // Where in the pattern, and in the path.
let i: u32 = 0;
let star: usize = 0; // What stands behind the last star, and where in the path it was tried last.
let starAt: u32 = 0;
let deep: usize = 0;
let deepAt: u32 = 0;

/** Whether the path, `length` bytes at `path`, matches the pattern at `pattern`. */
export function matchPath(pattern: usize, path: usize, length: u32): bool {
  p = pattern;
  i = 0;
  star = 0;
  deep = 0;
  while (load<u8>(p) !== <u8>PATH_END || i !== length) {
    if (!advance(path, length) && !goBack(path, length)) return false;
  }
  return true;
}

function advance(path: usize, length: u32): bool {
  const step = load<u8>(p);
  if (step === <u8>PATH_STAR) {
    star = ++p;
    starAt = i;
    return true;
  }
  if (step === <u8>PATH_DEEP) {
    if (!isBoundary(path, i, length)) return false;
    deep = ++p;
    deepAt = i;
    star = 0;
    return true;
  }
  if (i >= length || !accepts(step, load<u8>(path + i))) return false;
  p++;
  i++;
  return true;
}

/** One byte more for the last star, or else one segment more for the last **. */
function goBack(path: usize, length: u32): bool {
  if (star !== 0 && !isBoundary(path, starAt, length)) {
    p = star;
    i = ++starAt;
    return true;
  }
  if (deep === 0 || deepAt >= length) return false;
  deepAt++;
  while (!isBoundary(path, deepAt, length)) deepAt++;
  p = deep;
  i = deepAt;
  star = 0;
  return true;
}

/** Whether a segment ends here. */
function isBoundary(path: usize, i: u32, length: u32): bool {
  return i >= length || load<u8>(path + i) === SLASH;
}

function accepts(step: u8, byte: u8): bool {
  if (step === PATH_ONE) return byte !== SLASH;
  return step > <u8>PATH_ONE && step === byte;
}
