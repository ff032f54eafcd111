// What the value of a secret may be, and what of it people may see.
import { SECRET_VALUE_BYTES_MAX } from '../base/limits.ts';

const SHOWN_FIRST = 6;
const SHOWN_LAST = 4;
const MASKED_WHOLE_MAX = 6;
const MASKED_SHORT_MAX = 19;
const PREVIEW_LENGTH_MIN = 12; // Four letters of fewer would be too much of it.

/**
 * Says what is wrong with a value, without a letter of it. It must be able to stand in a header field
 * (RFC 9110 section 5.5): a line end in it would begin another field.
 */
export function faultOfValue(value: string): string | null {
  if (value === '') return 'the value is empty';
  if (Buffer.byteLength(value) > SECRET_VALUE_BYTES_MAX) {
    return `the value has more than ${SECRET_VALUE_BYTES_MAX} bytes`;
  }
  if (/^\s|\s$/.test(value)) return 'the value has white space at an end';
  return /^[\x20-\x7e]+$/.test(value)
    ? null
    : 'the value has line ends or other characters than visible ASCII';
}

/** As sbx masks: a few letters to tell one value from another by. */
export function masked(value: string): string {
  if (value.length <= MASKED_WHOLE_MAX) return '*'.repeat(value.length);
  const first = value.slice(0, SHOWN_FIRST);
  if (value.length <= MASKED_SHORT_MAX) return first + '*'.repeat(value.length - SHOWN_FIRST);
  return `${first}****${value.slice(-SHOWN_LAST)}`;
}

/** The last four letters, to compare with a variable that one knows. */
export function preview(value: string): string {
  return value.length < PREVIEW_LENGTH_MIN ? '****' : `****${value.slice(-SHOWN_LAST)}`;
}
