// The `words` region of an image while it is being compiled: sets, and the few records that nodes
// point to. Typed arrays only; at 10^6 rules one object a rule would cost more than the rest.
import {
  ENTRY_FLAGS_MASK,
  ENTRY_HTTP,
  HEADER_BYTES,
  SET_INLINE,
  SET_INLINE_FLAGS_SHIFT,
} from '../../assembly/layout.ts';
import { SallyportError } from '../base/errors.ts';
import { IMAGE_BYTES_MAX } from '../base/limits.ts';

const RULE_MASK = 0xfffff;
/** Typed arrays that own an ordinary buffer. */
export type Grown = Uint32Array<ArrayBuffer>;

const LINK_WORDS = 3; // key, rule, next

/** Refuses a policy whose image would be `bytes` long. @throws SALLYPORT_POLICY_TOO_LARGE */
export function refuseOver(bytes: number, bytesMax = IMAGE_BYTES_MAX): void {
  if (bytes <= bytesMax) return;
  throw new SallyportError(
    'SALLYPORT_POLICY_TOO_LARGE',
    `the compiled policy needs at least ${bytes} bytes; at most ${bytesMax} are possible`,
  );
}

/** An array at least `length` long that starts with the same numbers; doubles, within the bound. */
export function grown(array: Grown, length: number): Grown {
  if (length <= array.length) return array;
  refuseOver(length * 4);
  const larger = new Uint32Array(Math.max(length, array.length * 2));
  larger.set(array);
  return larger;
}

/** Appends words and hands out their offsets in the image. */
export class Words {
  #array = new Uint32Array(4_096);
  #length = 0;

  /** Where the next word will be, counted from the image's first byte. */
  get offset(): number {
    return HEADER_BYTES + this.#length * 4;
  }

  get array(): Uint32Array {
    return this.#array.subarray(0, this.#length);
  }

  push(word: number): void {
    this.#array = grown(this.#array, this.#length + 1);
    this.#array[this.#length++] = word;
  }
}

/** An HTTP rule for one path pattern: its index, method bits, and where the pattern is. */
export type HttpWords = {
  readonly rule: number;
  readonly methods: number;
  readonly pattern: number;
};

/**
 * Sets while they collect entries. A set is one i32: 0, an inline entry (below 0), or a list (above
 * 0); `seal` turns a list into a record of `words` and leaves the others as they are. Signed, since
 * the engine keeps an i32 in a register and puts a larger number on the heap.
 */
export class Sets {
  readonly #words: Words;
  #links = new Uint32Array(LINK_WORDS * 1_024);
  #linksLength = LINK_WORDS; // Link 0 is the end of every list.
  readonly #http: HttpWords[] = [];

  constructor(words: Words) {
    this.#words = words;
  }

  /**
   * The set with one more entry. `flags` are ENTRY_ flags; port 0 stands for any.
   *
   * @param rule  with ENTRY_HTTP a place that `http` gave.
   */
  add(set: number, port: number, flags: number, rule: number): number {
    if (set === 0 && port === 0 && (flags & ENTRY_HTTP) === 0) {
      return SET_INLINE | (flags << SET_INLINE_FLAGS_SHIFT) | rule;
    }
    let list = set;
    if (set < 0) {
      list = this.#link(0, (set >>> SET_INLINE_FLAGS_SHIFT) & ENTRY_FLAGS_MASK, set & RULE_MASK);
    }
    return this.#link(list, ((port << 16) | flags) >>> 0, rule);
  }

  /** The set as the image holds it. Of entries with one key only the lowest rule remains. */
  seal(set: number): number {
    if (set <= 0) return set;
    const entries = this.#sorted(set); // Before the offset is taken: it may write lists.
    const words = this.#words;
    const offset = words.offset;
    words.push(entries.length);
    words.push(entries.filter(({ key }) => key <= ENTRY_FLAGS_MASK).length);
    for (const { key, rule } of entries) {
      words.push(key);
      words.push(rule);
    }
    return offset;
  }

  /** Keeps what an HTTP rule asks of requests. @returns what `add` takes in place of its index */
  http(rule: HttpWords): number {
    return this.#http.push(rule) - 1;
  }

  #sorted(list: number): { key: number; rule: number }[] {
    const lowest = new Map<number, number>();
    const lists = new Map<number, HttpWords[]>();
    for (let at = list; at !== 0; at = this.#links[at + 2] ?? 0) {
      const key = this.#links[at] ?? 0;
      const rule = this.#links[at + 1] ?? 0;
      const http = (key & ENTRY_HTTP) === 0 ? undefined : this.#http[rule];
      if (http === undefined) lowest.set(key, Math.min(rule, lowest.get(key) ?? rule));
      else if (lists.get(key)?.push(http) === undefined) lists.set(key, [http]);
    }
    for (const [key, rules] of lists) lowest.set(key, this.#sealHttp(rules));
    return [...lowest].map(([key, rule]) => ({ key, rule })).sort((a, b) => a.key - b.key);
  }

  #sealHttp(rules: readonly HttpWords[]): number {
    const words = this.#words;
    const offset = words.offset;
    words.push(rules.length);
    for (const { rule, methods, pattern } of rules) {
      words.push(rule);
      words.push(methods);
      words.push(pattern);
    }
    return offset;
  }

  #link(next: number, key: number, rule: number): number {
    const at = this.#linksLength;
    this.#linksLength += LINK_WORDS;
    this.#links = grown(this.#links, this.#linksLength);
    this.#links[at] = key;
    this.#links[at + 1] = rule;
    this.#links[at + 2] = next;
    return at;
  }
}
