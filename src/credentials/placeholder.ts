// What stands for a custom secret in a sandbox: a text of its own in each, that nobody can guess.
import { createHmac, randomBytes } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import type { CustomBinding } from './binding.ts';

const RAND = '{rand}';
const RAND_HEX = 32; // 128 bits.

type Template = Pick<CustomBinding, 'placeholder' | 'placeholderKey'>;

/** @returns hex, to keep with the secret */
export function newPlaceholderKey(): string {
  return randomBytes(32).toString('hex');
}

/** The placeholder of one sandbox. A template without `{rand}` is the same in all of them. */
export function placeholderFor({ placeholder, placeholderKey }: Template, scope: number): string {
  if (!placeholder.includes(RAND)) return placeholder;
  const rand = createHmac('sha256', placeholderKey).update(String(scope)).digest('hex');
  return placeholder.replace(RAND, rand.slice(0, RAND_HEX));
}

/** A regular expression for the placeholders of all sandboxes. */
export function placeholderPattern({ placeholder }: Pick<Template, 'placeholder'>): string {
  const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  return placeholder.split(RAND).map(escaped).join(`[0-9a-f]{${RAND_HEX}}`);
}

export function misused(host: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_CREDENTIAL_MISUSED',
    `a placeholder is sent to ${host}, where its secret does not go, or by another sandbox than its own`,
  );
}
