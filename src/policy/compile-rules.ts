// The rule table while an image is compiled: who a rule is, for verdicts to name it.
import {
  RULE_ID,
  RULE_ID_LENGTH,
  RULE_SOURCE,
  SOURCE_KIT,
  SOURCE_LOCAL,
  SOURCE_REMOTE,
} from '../../assembly/layout.ts';
import { SallyportError } from '../base/errors.ts';
import { RULE_ID_BYTES_MAX } from '../base/limits.ts';
import type { Scratch } from './compile-scratch.ts';
import type { Rule, Source } from './rule.ts';

const SOURCES: Readonly<Record<Source, number>> = {
  local: SOURCE_LOCAL,
  kit: SOURCE_KIT,
  remote: SOURCE_REMOTE,
};

export class RuleTable {
  readonly #bytes: Uint8Array;
  readonly #recordBytes: number;
  #count = 0;

  /** @param idBytes  length of the longest id, 1..RULE_ID_BYTES_MAX */
  constructor(rules: number, idBytes: number, scratch: Scratch) {
    this.#recordBytes = RULE_ID + idBytes;
    const bytes = rules * this.#recordBytes;
    this.#bytes = new Uint8Array(scratch.take('rules', bytes), 0, bytes);
  }

  get count(): number {
    return this.#count;
  }

  get recordBytes(): number {
    return this.#recordBytes;
  }

  get records(): Uint8Array {
    return this.#bytes;
  }

  /** Adds the next rule. @throws SALLYPORT_POLICY_INVALID for an id that is not 1..64 ASCII bytes. */
  add({ id, source }: Rule): void {
    const { length } = id;
    const bytes = this.#bytes;
    const start = this.#count++ * this.#recordBytes;
    bytes[start + RULE_SOURCE] = SOURCES[source];
    bytes[start + RULE_ID_LENGTH] = length;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const code = id.charCodeAt(i);
      seen |= code;
      bytes[start + RULE_ID + i] = code;
    }
    if (seen > 127) throw invalidId(id);
  }
}

/** Length of the longest id. @throws SALLYPORT_POLICY_INVALID for one that is not 1..64 long. */
export function longestId(rules: readonly Rule[]): number {
  let longest = 1;
  for (const { id } of rules) {
    if (id.length === 0 || id.length > RULE_ID_BYTES_MAX) throw invalidId(id);
    if (id.length > longest) longest = id.length;
  }
  return longest;
}

function invalidId(id: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', `not a rule id: ${JSON.stringify(id)}`);
}
