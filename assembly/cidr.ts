// Walks an address down a path-compressed binary trie. Every prefix on the way covers the address
// and is collected, since a deny wins however short its prefix is.
import { at, image } from './image';
import {
  CIDR_BYTES,
  CIDR_LENGTH,
  CIDR_ONE,
  CIDR_PREFIX,
  CIDR_SET,
  CIDR_ZERO,
  HEADER_CIDRS,
} from './layout';
import { collect } from './rules';

/** Collects the prefixes below `root` that cover the address, `bits` long, in the words at `address`. */
export function walkCidrs(root: u32, address: usize, bits: u32): void {
  const cidrs = load<u32>(image, HEADER_CIDRS);
  let node = root;
  let least: u32 = 0; // Lengths grow on the way down; a damaged image must not make a circle.
  while (node !== 0) {
    const here = at(cidrs + node, CIDR_BYTES);
    const length = load<u32>(here, CIDR_LENGTH);
    if (length < least || length > bits) unreachable();
    if (!covers(here + CIDR_PREFIX, length, address)) return;
    collect(load<u32>(here, CIDR_SET));
    if (length === bits) return;
    const word = load<u32>(address + ((length >>> 5) << 2));
    node = (word << (length & 31)) >>> 31 ? load<u32>(here, CIDR_ONE) : load<u32>(here, CIDR_ZERO);
    least = length + 1;
  }
}

function covers(prefix: usize, length: u32, address: usize): bool {
  let left = length;
  let offset: usize = 0;
  while (left >= 32) {
    if (load<u32>(prefix + offset) !== load<u32>(address + offset)) return false;
    left -= 32;
    offset += 4;
  }
  if (left === 0) return true;
  return (load<u32>(prefix + offset) ^ load<u32>(address + offset)) >>> (32 - left) === 0;
}
