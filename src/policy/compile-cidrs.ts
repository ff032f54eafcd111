// The address tries of all scopes while an image is compiled: path-compressed binary tries, nodes
// in their final form (assembly/layout.ts). Depth is at most the bits of an address.
import { CIDR_BYTES, CIDR_ONE, CIDR_SET, CIDR_ZERO } from '../../assembly/layout.ts';
import { grown, type Sets } from './compile-words.ts';

const WORDS = CIDR_BYTES / 4;
const PREFIX = 1;
const ZERO = CIDR_ZERO / 4;
const ONE = CIDR_ONE / 4;
const SET = CIDR_SET / 4;

export class CidrTries {
  readonly #sets: Sets;
  #cells = new Uint32Array(WORDS * 256);
  #end = WORDS; // Offset 0 is no node.
  readonly #key = new Uint32Array(4);

  constructor(sets: Sets) {
    this.#sets = sets;
  }

  get nodes(): Uint32Array {
    return this.#cells.subarray(0, this.#end);
  }

  /** A new trie: the range that holds every address, without entries of its own. */
  root(): number {
    return this.#addNode(0, 0) * 4;
  }

  /** Adds an entry for a range: 4 or 16 bytes in network order, host bits zero. */
  add(root: number, bytes: Uint8Array, length: number, port: number, flags: number, rule: number) {
    for (let i = 0; i < 4; i++) {
      const at = 4 * i;
      this.#key[i] =
        ((bytes[at] ?? 0) << 24) |
        ((bytes[at + 1] ?? 0) << 16) |
        ((bytes[at + 2] ?? 0) << 8) |
        (bytes[at + 3] ?? 0);
    }
    const at = this.#place(root / 4, length) + SET;
    this.#cells[at] = this.#sets.add((this.#cells[at] ?? 0) | 0, port, flags, rule);
  }

  /** Writes all sets to `words`; the nodes are final afterwards. */
  seal(): void {
    for (let at = WORDS; at < this.#end; at += WORDS) {
      this.#cells[at + SET] = this.#sets.seal((this.#cells[at + SET] ?? 0) | 0);
    }
  }

  /** The node of the key's first `length` bits, made if need be; a root has length 0. */
  #place(root: number, length: number): number {
    let link = 0;
    let node = root;
    for (;;) {
      const nodeLength = this.#cells[node] ?? 0;
      const common = this.#common(node, Math.min(nodeLength, length));
      if (common < nodeLength) return this.#split(link, node, common, length);
      if (nodeLength === length) return node;
      link = node + (bitAt(this.#key, 0, nodeLength) === 1 ? ONE : ZERO);
      const next = (this.#cells[link] ?? 0) / 4;
      if (next === 0) return this.#linked(link, this.#addNode(length, length));
      node = next;
    }
  }

  /** Puts the key's node above `node`, or beside it under a new branch. */
  #split(link: number, node: number, common: number, length: number): number {
    const above = this.#linked(link, this.#addNode(common, common));
    const bit = bitAt(this.#cells, node + PREFIX, common);
    this.#cells[above + (bit === 1 ? ONE : ZERO)] = node * 4;
    if (common === length) return above;
    return this.#linked(above + (bit === 1 ? ZERO : ONE), this.#addNode(length, length));
  }

  #linked(link: number, node: number): number {
    this.#cells[link] = node * 4;
    return node;
  }

  #addNode(length: number, prefixBits: number): number {
    const node = this.#end;
    this.#end += WORDS;
    this.#cells = grown(this.#cells, this.#end);
    this.#cells[node] = length;
    for (let i = 0; i < 4; i++) {
      const kept = Math.min(32, Math.max(0, prefixBits - 32 * i));
      const mask = kept === 0 ? 0 : -1 << (32 - kept);
      this.#cells[node + PREFIX + i] = (this.#key[i] ?? 0) & mask;
    }
    return node;
  }

  /** How many of the first `most` bits the node's prefix and the key share. */
  #common(node: number, most: number): number {
    for (let i = 0; 32 * i < most; i++) {
      const difference = (this.#cells[node + PREFIX + i] ?? 0) ^ (this.#key[i] ?? 0);
      if (difference !== 0) return Math.min(most, 32 * i + Math.clz32(difference));
    }
    return most;
  }
}

function bitAt(words: Uint32Array, start: number, bit: number): number {
  return ((words[start + (bit >>> 5)] ?? 0) >>> (31 - (bit & 31))) & 1;
}
