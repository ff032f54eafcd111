// The host tries of all scopes while an image is compiled: nodes are written at once in their
// final form (assembly/layout.ts), so that sealing touches only what has lists.
import {
  GLOB_CLASS,
  GLOB_ONE,
  GLOB_STAR,
  HASH_DOT,
  HASH_PRIME,
  NODE_ALIGN,
  NODE_ALIGN_BITS,
  NODE_EXACT,
  NODE_EXTRA,
  NODE_LABEL,
  NODE_LENGTH,
  SLOT_TAG_BITS,
  SLOT_TAG_MASK,
  SLOT_TAG_SHIFT,
} from '../../assembly/layout.ts';
import { compileGlob } from './compile-glob.ts';
import type { Scratch } from './compile-scratch.ts';
import { grown, refuseOver, type Sets, type Words } from './compile-words.ts';

const EXACT = NODE_EXACT / 4;
const EXTRA = NODE_EXTRA / 4;
const EXTRA_WORDS = 3; // one, many, first edge
const EDGE_WORDS = 4; // pattern, node, state, next

/** The hash state after one more label to the left, without the dot. assembly/host.ts agrees. */
export function hashLabel(state: number, label: string): number {
  let hash = state;
  for (let i = label.length - 1; i >= 0; i--) {
    hash = Math.imul(hash ^ label.charCodeAt(i), HASH_PRIME);
  }
  return hash;
}

/** Spreads a hash state over all bits (MurmurHash3's finalizer). assembly/host.ts agrees. */
export function mix(state: number): number {
  let hash = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** A place in the trie: a node's offset in its region, and the hash state for its children. */
export type Place = { node: number; state: number };

export class HostTries {
  readonly #words: Words;
  readonly #sets: Sets;
  readonly #scratch: Scratch;
  #bytes: Uint8Array;
  #cells: Uint32Array; // The same memory as #bytes.
  #end = NODE_ALIGN; // Offset 0 is no node.
  #slots: Uint32Array;
  #slotMask: number;
  #count = 0;
  readonly #roots = new Map<number, number>();
  #extras = new Uint32Array(1_024);
  #extrasEnd = EXTRA_WORDS;
  #edges = new Uint32Array(1_024);
  #edgesEnd = EDGE_WORDS;

  /** @param expected  how many nodes there may be; more is fine, and slower. */
  constructor(words: Words, sets: Sets, expected: number, scratch: Scratch) {
    this.#words = words;
    this.#sets = sets;
    this.#scratch = scratch;
    const bytes = Math.max(1_024, (expected + (expected >>> 2)) * NODE_ALIGN);
    const buffer = scratch.take('nodes', bytes);
    this.#bytes = new Uint8Array(buffer);
    this.#cells = new Uint32Array(buffer);
    const slots = 2 ** Math.ceil(Math.log2(Math.max(64, (expected + (expected >>> 5)) * 2)));
    this.#slots = this.#emptySlots(slots);
    this.#slotMask = slots - 1;
  }

  get slots(): Uint32Array {
    return this.#slots;
  }

  get nodes(): Uint8Array {
    return this.#bytes.subarray(0, this.#end);
  }

  /** A new trie: the node of the root label, from where hashes start at `state`. */
  root(state: number): number {
    this.#stage(state, '');
    const node = this.#addNode(0, 0);
    this.#roots.set(node, state);
    return node;
  }

  /** Moves `place` to the child with this label, a name's or a glob, making it if need be. */
  descend(place: Place, label: string): void {
    const parent = place.node;
    const state = this.#stage(place.state, label);
    const hash = mix(state);
    place.state = Math.imul(state ^ HASH_DOT, HASH_PRIME);
    const slots = this.#slots;
    const mask = this.#slotMask;
    const tag = hash >>> SLOT_TAG_SHIFT;
    let slot = hash & mask;
    for (let entry = slots[slot] ?? 0; entry !== 0; entry = slots[slot] ?? 0) {
      if ((entry & SLOT_TAG_MASK) === tag) {
        place.node = (entry >>> SLOT_TAG_BITS) << NODE_ALIGN_BITS;
        if (this.#isChild(place.node, parent, label.length)) return;
      }
      slot = (slot + 1) & mask;
    }
    const node = this.#addNode(parent, label.length);
    place.node = node;
    slots[slot] = slotEntry(node, tag);
    if (++this.#count * 2 > mask) this.#rehash();
    if (isGlob(label)) this.#addEdge(parent, place, label);
  }

  /** Hashes a label, and writes it to where the next node's label will be. */
  #stage(state: number, label: string): number {
    const start = this.#end + NODE_LABEL;
    const end = this.#end + nodeBytes(label.length); // A pattern may be longer than any label.
    if (end > this.#bytes.length) this.#growNodes(end);
    const bytes = this.#bytes;
    let hash = state;
    for (let i = label.length - 1; i >= 0; i--) {
      const code = label.charCodeAt(i);
      bytes[start + i] = code;
      hash = Math.imul(hash ^ code, HASH_PRIME);
    }
    return hash;
  }

  /** Adds an entry for the name that ends at the node. */
  addExact(node: number, port: number, flags: number, rule: number): void {
    const at = (node >>> 2) + EXACT;
    this.#cells[at] = this.#sets.add((this.#cells[at] ?? 0) | 0, port, flags, rule);
  }

  /** Adds an entry for names that continue to the left: by one label, or by one or more. */
  addWildcard(
    node: number,
    prefix: 'one' | 'many',
    port: number,
    flags: number,
    rule: number,
  ): void {
    const at = this.#extra(node) + (prefix === 'one' ? 0 : 1);
    this.#extras[at] = this.#sets.add((this.#extras[at] ?? 0) | 0, port, flags, rule);
  }

  /** Writes all sets and edges to `words`; the nodes are final afterwards. */
  seal(): void {
    const cells = this.#cells;
    for (let node = NODE_ALIGN; node < this.#end; ) {
      const at = node >>> 2;
      cells[at + EXACT] = this.#sets.seal((cells[at + EXACT] ?? 0) | 0);
      const extra = cells[at + EXTRA] ?? 0;
      if (extra !== 0) cells[at + EXTRA] = this.#sealExtra(extra);
      node += nodeBytes(this.#bytes[node + NODE_LENGTH] ?? 0);
    }
  }

  #sealExtra(extra: number): number {
    const one = this.#sets.seal((this.#extras[extra] ?? 0) | 0);
    const many = this.#sets.seal((this.#extras[extra + 1] ?? 0) | 0);
    const globs = this.#sealEdges(this.#extras[extra + 2] ?? 0);
    const offset = this.#words.offset;
    this.#words.push(one);
    this.#words.push(many);
    this.#words.push(globs);
    return offset;
  }

  #sealEdges(first: number): number {
    if (first === 0) return 0;
    const offset = this.#words.offset;
    const edges = this.#edges;
    let count = 0;
    for (let at = first; at !== 0; at = edges[at + 3] ?? 0) count++;
    this.#words.push(count);
    for (let at = first; at !== 0; at = edges[at + 3] ?? 0) {
      for (let i = 0; i < 3; i++) this.#words.push(edges[at + i] ?? 0);
    }
    return offset;
  }

  /** Whether a node is the child of `parent` with the staged label. */
  #isChild(node: number, parent: number, length: number): boolean {
    if (this.#cells[node >>> 2] !== parent) return false;
    const bytes = this.#bytes;
    if (bytes[node + NODE_LENGTH] !== length) return false;
    const staged = this.#end + NODE_LABEL;
    for (let i = 0; i < length; i++) {
      if (bytes[node + NODE_LABEL + i] !== bytes[staged + i]) return false;
    }
    return true;
  }

  /** Makes a node of the staged label. */
  #addNode(parent: number, length: number): number {
    const node = this.#end;
    this.#end += nodeBytes(length);
    this.#cells[node >>> 2] = parent;
    this.#cells[(node >>> 2) + EXACT] = 0; // A longer label may have been staged here.
    this.#cells[(node >>> 2) + EXTRA] = 0;
    this.#bytes[node + NODE_LENGTH] = length;
    return node;
  }

  #growNodes(end: number): void {
    refuseOver(end);
    const old = this.#bytes;
    const buffer = this.#scratch.take('nodes', Math.max(end, 2 * old.length));
    this.#cells = new Uint32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#bytes.set(old);
  }

  #emptySlots(count: number): Uint32Array {
    return new Uint32Array(this.#scratch.take('slots', count * 4), 0, count).fill(0);
  }

  /** Doubles the slots. Parents come before children, so one pass finds every node's hash again. */
  #rehash(): void {
    refuseOver(this.#slots.byteLength * 2);
    this.#slots = this.#emptySlots(this.#slots.length * 2);
    this.#slotMask = this.#slots.length - 1;
    const states = new Uint32Array(this.#end >>> NODE_ALIGN_BITS);
    for (let node = NODE_ALIGN; node < this.#end; ) {
      const length = this.#bytes[node + NODE_LENGTH] ?? 0;
      const root = this.#roots.get(node);
      if (root === undefined) {
        const parent = this.#cells[node >>> 2] ?? 0;
        const state = this.#hashOf(states[parent >>> NODE_ALIGN_BITS] ?? 0, node, length);
        states[node >>> NODE_ALIGN_BITS] = Math.imul(state ^ HASH_DOT, HASH_PRIME);
        this.#insert(node, mix(state));
      } else {
        states[node >>> NODE_ALIGN_BITS] = root;
      }
      node += nodeBytes(length);
    }
  }

  #hashOf(state: number, node: number, length: number): number {
    let hash = state;
    for (let i = length - 1; i >= 0; i--) {
      hash = Math.imul(hash ^ (this.#bytes[node + NODE_LABEL + i] ?? 0), HASH_PRIME);
    }
    return hash;
  }

  #insert(node: number, hash: number): void {
    let slot = hash & this.#slotMask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#slotMask;
    this.#slots[slot] = slotEntry(node, hash >>> SLOT_TAG_SHIFT);
  }

  #addEdge(parent: number, { node, state }: Place, label: string): void {
    const extra = this.#extra(parent);
    const at = this.#edgesEnd;
    this.#edgesEnd += EDGE_WORDS;
    this.#edges = grown(this.#edges, this.#edgesEnd);
    this.#edges[at] = compileGlob(this.#words, label);
    this.#edges[at + 1] = node;
    this.#edges[at + 2] = state;
    this.#edges[at + 3] = this.#extras[extra + 2] ?? 0;
    this.#extras[extra + 2] = at;
  }

  #extra(node: number): number {
    const at = (node >>> 2) + EXTRA;
    const known = this.#cells[at] ?? 0;
    if (known !== 0) return known;
    const extra = this.#extrasEnd;
    this.#extrasEnd += EXTRA_WORDS;
    this.#extras = grown(this.#extras, this.#extrasEnd);
    this.#cells[at] = extra;
    return extra;
  }
}

/** Whether a resource's label is a pattern rather than a name's label. */
export function isGlob(label: string): boolean {
  for (let i = 0; i < label.length; i++) {
    const code = label.charCodeAt(i);
    if (code === GLOB_STAR || code === GLOB_ONE || code === GLOB_CLASS) return true;
  }
  return false;
}

function slotEntry(node: number, tag: number): number {
  return (((node >>> NODE_ALIGN_BITS) << SLOT_TAG_BITS) | tag) >>> 0;
}

function nodeBytes(labelLength: number): number {
  return (NODE_LABEL + labelLength + NODE_ALIGN - 1) & -NODE_ALIGN;
}
