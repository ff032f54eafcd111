// YAML 1.2 as far as configuration needs it, with the place of every value. Anchors, tags, several
// documents, older versions and keys that stand twice are refused: a file must mean what it looks like.
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { SallyportError } from '../base/errors.ts';
import { DOCUMENT_BYTES_MAX, DOCUMENT_FAULTS_MAX } from '../base/limits.ts';

export type KeyPath = readonly PropertyKey[];

const DEPTH_MAX = 32; // No format here has more than a handful.
const TOO_DEEP = 'it is nested too deeply';

/** One document; faults are gathered with their places and thrown together. */
export class YamlText {
  readonly value: unknown;
  readonly #name: string;
  readonly #lines = new LineCounter();
  readonly #root: Node | null;
  readonly #faults: string[] = [];
  readonly #keys = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>();

  /**
   * @param name  of the file, for messages.
   * @throws SALLYPORT_POLICY_INVALID for what is no YAML, or is YAML of a kind that is not taken
   */
  constructor(text: string, name: string) {
    this.#name = name;
    if (text.length > DOCUMENT_BYTES_MAX) {
      throw new SallyportError(
        'SALLYPORT_POLICY_TOO_LARGE',
        `${name} has more than ${DOCUMENT_BYTES_MAX} bytes`,
      );
    }
    // Its own search for equal keys compares each with each.
    const options = { prettyErrors: false, uniqueKeys: false, stringKeys: true };
    const document = parseDocument(text, { ...options, lineCounter: this.#lines });
    for (const error of [...document.errors, ...document.warnings]) {
      const words = wordsOf(error);
      this.fault(this.#at(error.pos[0]), words);
      if (words === TOO_DEEP) break; // What follows is but an echo.
    }
    if (document.directives?.yaml.version !== '1.2') {
      // Version 1.1 has merge keys (<<), and other ideas of what is a number or yes.
      this.fault(this.#at(0), 'it is not of version 1.2; remove the %YAML line');
    }
    this.throwFaults();
    this.#root = document.contents;
    this.#checkNode(document.contents, 0);
    this.throwFaults();
    this.value = document.toJS();
  }

  /** `file:line:column` of a value; of what is not there, that of what should hold it. */
  placeOf(path: KeyPath): string {
    let node: unknown = this.#root;
    let offset = offsetOf(node) ?? 0;
    for (const step of path) {
      node = this.#child(node, step);
      const found = offsetOf(node);
      if (found === null) break;
      offset = found;
    }
    return this.#at(offset);
  }

  /** Of the key, not of what stands behind it. */
  placeOfKey(path: KeyPath, key: string): string {
    const map = path.reduce<unknown>((node, step) => this.#child(node, step), this.#root);
    const offset = isMap(map) ? offsetOf(this.#pairs(map).get(key)?.key) : null;
    return offset === null ? this.placeOf(path) : this.#at(offset);
  }

  fault(place: string, why: string): void {
    this.#faults.push(`${place}: ${why}`);
  }

  /** @throws SALLYPORT_POLICY_INVALID naming every fault so far, if there is any */
  throwFaults(): void {
    const { length } = this.#faults;
    if (length === 0) return;
    const shown = this.#faults.toSorted(byPlace).slice(0, DOCUMENT_FAULTS_MAX);
    const more = length > shown.length ? [`and ${length - shown.length} more`] : [];
    throw new SallyportError('SALLYPORT_POLICY_INVALID', [...shown, ...more].join('\n'));
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#name}:${line}:${col}`;
  }

  #child(node: unknown, step: PropertyKey): unknown {
    if (isMap(node)) return this.#pairs(node).get(String(step))?.value;
    return isCollection(node) ? node.items[Number(step)] : undefined;
  }

  #pairs(map: YAMLMap): ReadonlyMap<string, Pair> {
    const known = this.#keys.get(map);
    if (known !== undefined) return known;
    const pairs = new Map(map.items.map((pair) => [keyText(pair), pair]));
    this.#keys.set(map, pairs);
    return pairs;
  }

  #checkNode(node: unknown, depth: number): void {
    if (!isNode(node)) return;
    const strange = strangenessOf(node);
    if (strange !== null) this.fault(this.#at(offsetOf(node) ?? 0), strange);
    if (!isCollection(node)) return;
    if (isMap(node)) this.#checkKeys(node);
    if (depth === DEPTH_MAX) return void this.fault(this.#at(offsetOf(node) ?? 0), TOO_DEEP);
    for (const item of node.items) this.#checkNode(isPair(item) ? item.value : item, depth + 1);
  }

  #checkKeys(map: YAMLMap): void {
    const seen = new Set<string>();
    for (const pair of map.items) {
      const text = keyText(pair);
      if (seen.has(text)) this.fault(this.#at(offsetOf(pair.key) ?? 0), `"${text}" stands twice`);
      seen.add(text);
    }
  }
}

/** What makes a value mean something else than it looks like. */
function strangenessOf(node: Node): string | null {
  if (isAlias(node)) return 'an alias; write out what it stands for';
  if ('anchor' in node && node.anchor !== undefined) {
    return `an anchor, &${node.anchor}; nothing may refer to it`;
  }
  return node.tag === undefined ? null : `a tag, ${node.tag}; write a plain value`;
}

function offsetOf(node: unknown): number | null {
  return isNode(node) ? (node.range?.[0] ?? null) : null;
}

function keyText({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : String(key);
}

/** Faults begin with `file:line:column: `. */
function byPlace(one: string, other: string): number {
  const [a, b] = [one, other].map((text) => /:(\d+):(\d+): /.exec(text)?.map(Number) ?? []);
  return (a?.[1] ?? 0) - (b?.[1] ?? 0) || (a?.[2] ?? 0) - (b?.[2] ?? 0);
}

/** Of a fault that the parser found. */
function wordsOf({ code, message }: YAMLError): string {
  if (message.includes('call stack')) return TOO_DEEP;
  if (code === 'MULTIPLE_DOCS') return 'a second document begins; a file has one';
  return message.split('\n')[0] ?? message;
}
