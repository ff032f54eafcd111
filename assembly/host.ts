// Walks a name through the host trie, right to left, collecting the sets that cover it.
import { matchGlob } from './glob';
import { at, image } from './image';
import {
  EXTRA_BYTES,
  EXTRA_GLOBS,
  EXTRA_MANY,
  EXTRA_ONE,
  GLOB_BYTES,
  GLOB_NODE,
  GLOB_PATTERN,
  GLOB_STATE,
  GLOBS_COUNT,
  GLOBS_EDGES,
  HASH_DOT,
  HASH_PRIME,
  HEADER_NODES,
  HEADER_SLOT_MASK,
  HEADER_SLOTS,
  NODE_ALIGN_BITS,
  NODE_EXACT,
  NODE_EXTRA,
  NODE_LABEL,
  NODE_LENGTH,
  NODE_PARENT,
  SLOT_BYTES,
  SLOT_TAG_BITS,
  SLOT_TAG_MASK,
  SLOT_TAG_SHIFT,
} from './layout';
import { collect } from './rules';

let nodes: u32 = 0;
let slots: usize = 0;
let slotMask: u32 = 0;

/** Reads where the regions of the open image are. */
export function openHosts(): void {
  nodes = load<u32>(image, HEADER_NODES);
  slotMask = load<u32>(image, HEADER_SLOT_MASK);
  if (slotMask > 0x7ffffff) unreachable();
  slots = at(load<u32>(image, HEADER_SLOTS), (slotMask + 1) * SLOT_BYTES);
}

/**
 * Collects every set below `node` that covers the `rest` bytes at `name`, which are the labels to
 * the left of the node's own. Recurses once per label and matching edge: each trie node at most once.
 */
export function walkHosts(node: u32, state: u32, name: usize, rest: u32): void {
  const here = at(nodes + node, NODE_LABEL);
  if (rest === 0) {
    collect(load<u32>(here, NODE_EXACT));
    return;
  }
  let hash = state;
  let start = rest;
  while (start > 0) {
    const byte: u32 = load<u8>(name + start - 1);
    if (byte === HASH_DOT) break;
    hash = (hash ^ byte) * HASH_PRIME;
    start--;
  }
  const left: u32 = start === 0 ? 0 : start - 1;
  const extra = load<u32>(here, NODE_EXTRA);
  if (extra !== 0) walkExtra(extra, name, start, rest, left);
  const child = findChild(node, mix(hash), name + start, rest - start);
  if (child !== 0) walkHosts(child, (hash ^ HASH_DOT) * HASH_PRIME, name, left);
}

/** Wildcards below a node, and the edges whose pattern matches the label from `start` to `end`. */
function walkExtra(extra: u32, name: usize, start: u32, end: u32, left: u32): void {
  const record = at(extra, EXTRA_BYTES);
  if (start === 0) collect(load<u32>(record, EXTRA_ONE));
  collect(load<u32>(record, EXTRA_MANY));
  const globs = load<u32>(record, EXTRA_GLOBS);
  if (globs === 0) return;
  const count = load<u32>(at(globs, GLOBS_EDGES), GLOBS_COUNT);
  if (count > 0x3ffffff) unreachable();
  const edges = at(globs, GLOBS_EDGES + count * GLOB_BYTES) + GLOBS_EDGES;
  for (let i: u32 = 0; i < count; i++) {
    const edge = edges + i * GLOB_BYTES;
    if (!matchGlob(at(load<u32>(edge, GLOB_PATTERN), 1), name + start, end - start)) continue;
    walkHosts(load<u32>(edge, GLOB_NODE), load<u32>(edge, GLOB_STATE), name, left);
  }
}

/** The child of `parent` with exactly this label, or 0. The hash proposes, the bytes decide. */
function findChild(parent: u32, hash: u32, label: usize, length: u32): u32 {
  const tag = hash >>> SLOT_TAG_SHIFT;
  let slot = hash & slotMask;
  for (let probes: u32 = 0; probes <= slotMask; probes++) {
    const entry = load<u32>(slots + slot * SLOT_BYTES);
    if (entry === 0) return 0;
    if ((entry & SLOT_TAG_MASK) === tag) {
      const node = (entry >>> SLOT_TAG_BITS) << NODE_ALIGN_BITS;
      if (isChild(node, parent, label, length)) return node;
    }
    slot = (slot + 1) & slotMask;
  }
  return 0;
}

function isChild(node: u32, parent: u32, label: usize, length: u32): bool {
  const here = at(nodes + node, NODE_LABEL + length);
  if (load<u32>(here, NODE_PARENT) !== parent) return false;
  if (<u32>load<u8>(here, NODE_LENGTH) !== length) return false;
  return memory.compare(here + NODE_LABEL, label, length) === 0;
}

/** The finalizer of MurmurHash3: spreads the state over all bits. */
function mix(state: u32): u32 {
  let hash = state;
  hash = (hash ^ (hash >>> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35;
  return hash ^ (hash >>> 16);
}
