// The image that a match reads. Every access goes through `at`, so an offset that leads outside
// traps, and the thread refuses the exchange instead of reading foreign bytes.

export let image: usize = 0;
let length: u32 = 0;

/** Takes the image at `base`, `bytes` long, for what follows. */
export function open(base: usize, bytes: u32): void {
  image = base;
  length = bytes;
}

/** Address of `size` bytes at `offset`; traps when they are not all inside the image. */
export function at(offset: u32, size: u32): usize {
  if (offset > length || size > length - offset) unreachable();
  return image + offset;
}
