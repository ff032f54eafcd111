// Path patterns of HTTP rules in the form that assembly/path.ts runs.
import { PATH_DEEP, PATH_END, PATH_ONE, PATH_STAR } from '../../assembly/layout.ts';
import type { Words } from './compile-words.ts';

const STAR = '*'.charCodeAt(0);
const SLASH = '/'.charCodeAt(0);

/** Writes each pattern once. */
export class PathPatterns {
  readonly #words: Words;
  readonly #offsets = new Map<string, number>();

  constructor(words: Words) {
    this.#words = words;
  }

  /** @param pattern  canonical, as policy/http.ts reads it. @returns its offset in the image */
  add(pattern: string): number {
    const known = this.#offsets.get(pattern);
    if (known !== undefined) return known;
    const { offset } = this.#words;
    const bytes = bytesOf(pattern);
    for (let i = 0; i < bytes.length; i += 4) {
      const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(i, i + 4);
      this.#words.push((a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
    }
    this.#offsets.set(pattern, offset);
    return offset;
  }
}

/** The slash before `**` belongs to what it matches, which may be nothing. */
function bytesOf(pattern: string): number[] {
  const segments = pattern.slice(1).split('/');
  // Two in a row match what one does.
  const kept = segments.filter((one, i) => one !== '**' || segments[i - 1] !== '**');
  return [...kept.flatMap(bytesOfSegment), PATH_END];
}

function bytesOfSegment(segment: string): number[] {
  if (segment === '**') return [PATH_DEEP];
  if (segment === '*') return [SLASH, PATH_ONE, PATH_STAR];
  return [SLASH, ...Array.from(Buffer.from(segment), (byte) => (byte === STAR ? PATH_STAR : byte))];
}
