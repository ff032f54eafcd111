// Matches one label against one in-label pattern. A star remembers only the last place where it
// could take one byte more, so the work is at most label times pattern, never exponential.
import { GLOB_CLASS, GLOB_CLASS_BYTES, GLOB_END, GLOB_ONE, GLOB_STAR } from './layout';

/** Whether the label, `labelLength` bytes at `label`, matches the pattern at `pattern`. */
export function matchGlob(pattern: usize, label: usize, labelLength: u32): bool {
  let p = pattern;
  let i: u32 = 0;
  let star: usize = 0;
  let starAt: u32 = 0;
  while (i < labelLength) {
    const step = load<u8>(p);
    if (step === GLOB_STAR) {
      star = ++p;
      starAt = i;
    } else if (accepts(p, load<u8>(label + i))) {
      p += width(step);
      i++;
    } else if (star !== 0) {
      p = star;
      i = ++starAt;
    } else {
      return false;
    }
  }
  while (load<u8>(p) === GLOB_STAR) p++;
  return load<u8>(p) === GLOB_END;
}

function width(step: u8): usize {
  return step === GLOB_CLASS ? 1 + GLOB_CLASS_BYTES : 1;
}

function accepts(p: usize, byte: u8): bool {
  const step = load<u8>(p);
  if (step === GLOB_ONE) return true;
  if (step === GLOB_END) return false;
  if (step !== GLOB_CLASS) return step === byte;
  if (byte > 127) return false;
  return ((load<u8>(p + 1 + (byte >>> 3)) >>> (byte & 7)) & 1) !== 0;
}
