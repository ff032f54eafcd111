// The file of the settings that a user made, as one JSON object from key to value. What is in it is
// taken whole or refused whole, every fault with its key; a write is on the disk whole or not at all.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { SallyportError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { replaceFile } from '../../base/replace-file.ts';
import { type GivenValues, SETTING_KEYS, SETTINGS, type SettingKey } from './keys.ts';

const SCHEMA_KEY = '$schema'; // Editors complete and check by it.

const Values = z.strictObject({
  [SCHEMA_KEY]: z.string().optional(),
  ...Object.fromEntries(
    SETTING_KEYS.map((key) => {
      const { schema, description, fallback } = SETTINGS[key];
      return [key, schema.optional().meta({ description, default: fallback })];
    }),
  ),
});

/** The JSON Schema of the file. */
export function settingsSchema(): object {
  const schema = z.toJSONSchema(Values, { io: 'input' });
  return { title: 'Settings of Sallyport', ...schema };
}

/** As the file has it: keys that are not known, too. @throws SALLYPORT_SETTING_INVALID */
export function readOverrides(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'it fails';
    if (why === 'ENOENT') return {};
    throw invalid([`${path} cannot be read: ${why}`], cause);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw invalid([`${path}: ${cause instanceof Error ? cause.message : 'no JSON'}`], cause);
  }
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) {
    return { ...content };
  }
  throw invalid([`${path}: it holds no JSON object from key to value`]);
}

/** @throws what keeps it from being written; the file is as it was, then */
export function writeOverrides(path: string, overrides: Record<string, unknown>): void {
  replaceFile(path, `${JSON.stringify(overrides, null, 2)}\n`);
}

/**
 * Takes values for settings.
 *
 * @param placeOf  how a key is called where the values come from.
 * @throws SALLYPORT_SETTING_INVALID naming every fault with its place, and for a key that is not known
 *   the nearest one that is.
 */
export function checkValues(
  values: Readonly<Record<string, unknown>>,
  placeOf: (key: string) => string,
): GivenValues {
  const read = Values.safeParse(values);
  if (!read.success) {
    throw invalid(read.error.issues.flatMap((issue) => faultsOf(issue, placeOf)));
  }
  const { [SCHEMA_KEY]: _, ...known } = read.data;
  return known as GivenValues; // Each value is of the schema of its key.
}

/** @throws SALLYPORT_NOT_FOUND naming the nearest key */
export function checkKey(key: string): SettingKey {
  if (isKey(key)) return key;
  throw new SallyportError('SALLYPORT_NOT_FOUND', unknownKey(key));
}

export function isKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key);
}

export function invalid(faults: readonly string[], cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_SETTING_INVALID', faults.join('; '), { cause });
}

function faultsOf(issue: z.core.$ZodIssue, placeOf: (key: string) => string): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${placeOf(key)}: ${unknownKey(key)}`);
  }
  const [key = '', index] = issue.path.map(String);
  const element = index === undefined ? '' : `, element ${Number(index) + 1}`;
  return [`${placeOf(key)}${element}: ${issue.message}`];
}

function unknownKey(key: string): string {
  const near = nearest(key, SETTING_KEYS);
  const shown = JSON.stringify(key.slice(0, 100));
  return `there is no setting ${shown}${near === null ? '' : `; is ${near} meant?`}`;
}
