// The settings as they stand: an option of the start wins over a variable of the environment, that
// over the file, that over the default. Immutable; a change makes a new one and is then saved. What a
// value does is in effect.ts.
import { nearest } from '../../base/nearest.ts';
import type { Env } from '../paths.ts';
import { checkKey, checkValues, invalid, readOverrides, writeOverrides } from './file.ts';
import {
  type GivenValues,
  isLive,
  readValue,
  SETTING_KEYS,
  SETTINGS,
  type SettingKey,
  type SettingValues,
  variableOf,
} from './keys.ts';

/** override: the file. */
export type SettingSource = 'option' | 'envvar' | 'override' | 'default';

/** One setting as it is told; the field names are those of sbx. */
export type SettingRecord = {
  readonly key: SettingKey;
  readonly value: SettingValues[SettingKey];
  readonly default: SettingValues[SettingKey];
  readonly source: SettingSource;
  readonly type: (typeof SETTINGS)[SettingKey]['type'];
  readonly env_var: string;
  /** The option of `daemon start`; '' for none. */
  readonly option: string;
  readonly requires_restart: boolean;
  readonly description: string;
};

export type SettingsPlace = {
  readonly path: string;
  readonly env: Env;
  /** By options of the start. */
  readonly given: GivenValues;
};

type Overrides = Readonly<Record<string, unknown>>;

export class Settings {
  readonly place: SettingsPlace;
  /** As the file has it. */
  readonly #overrides: Overrides;
  readonly #layers: readonly { readonly source: SettingSource; readonly values: GivenValues }[];
  readonly values: SettingValues;

  private constructor(place: SettingsPlace, overrides: Overrides) {
    const { path, env, given } = place;
    this.place = place;
    this.#overrides = overrides;
    this.#layers = [
      { source: 'option', values: checkValues(given, optionOf) },
      { source: 'envvar', values: fromEnvironment(env) },
      { source: 'override', values: checkValues(overrides, (key) => `${path}: ${key}`) },
    ];
    const entries = SETTING_KEYS.map((key) => [key, this.#evaluate(key).value]);
    this.values = Object.fromEntries(entries) as SettingValues;
  }

  /** @throws SALLYPORT_SETTING_INVALID naming every fault of one layer */
  static load(place: SettingsPlace): Settings {
    return new Settings(place, readOverrides(place.path));
  }

  /** In the order in which they are listed. */
  records(): SettingRecord[] {
    return SETTING_KEYS.map((key) => this.record(key));
  }

  record(key: SettingKey): SettingRecord {
    const { type, fallback, option, description } = SETTINGS[key];
    return {
      key,
      ...this.#evaluate(key),
      default: fallback,
      type,
      env_var: variableOf(key),
      option,
      requires_restart: !isLive(key),
      description,
    };
  }

  /** @throws SALLYPORT_SETTING_INVALID */
  with(key: SettingKey, value: unknown): Settings {
    checkValues({ [key]: value }, String); // Told without the path: it is not in the file yet.
    return new Settings(this.place, { ...this.#overrides, [key]: value });
  }

  /** Writes the file. */
  save(): void {
    writeOverrides(this.place.path, this.#overrides);
  }

  #evaluate(key: SettingKey): Pick<SettingRecord, 'value' | 'source'> {
    for (const { source, values } of this.#layers) {
      const value = values[key];
      if (value !== undefined) return { value, source };
    }
    return { value: SETTINGS[key].fallback, source: 'default' };
  }
}

/**
 * Takes one key out of the file, be it known or not: so a file with faults can be put right.
 *
 * @returns whether it was there.
 * @throws SALLYPORT_NOT_FOUND for a key that is neither there nor known
 */
export function removeOverride(path: string, key: string): boolean {
  const { [key]: removed, ...kept } = readOverrides(path);
  if (removed === undefined) {
    checkKey(key);
    return false;
  }
  writeOverrides(path, kept);
  return true;
}

function optionOf(key: string): string {
  return SETTINGS[checkKey(key)].option;
}

const VARIABLES: ReadonlyMap<string, SettingKey> = new Map(
  SETTING_KEYS.map((key) => [variableOf(key), key]),
);
/** `SALLYPORT_NETWORK_` and the like: whatever begins so is meant for us. */
const PREFIXES = [...new Set([...VARIABLES.keys()].map((name) => /^\w+?_\w+?_/.exec(name)?.[0]))];

/** An empty variable counts as none. */
function fromEnvironment(env: Env): GivenValues {
  const given: Record<string, unknown> = {};
  const unknown: string[] = [];
  for (const [name, text = ''] of Object.entries(env)) {
    const key = VARIABLES.get(name);
    if (key !== undefined && text !== '') given[key] = readValue(key, text);
    const isOurs = PREFIXES.some((prefix) => prefix !== undefined && name.startsWith(prefix));
    if (key === undefined && isOurs) unknown.push(unknownVariable(name));
  }
  if (unknown.length > 0) throw invalid(unknown);
  return checkValues(given, (key) => variableOf(checkKey(key)));
}

function unknownVariable(name: string): string {
  const [own, ...known] = [name, ...VARIABLES.keys()].map((one) => one.replace(/^SALLYPORT_/, ''));
  const near = nearest(own ?? '', known);
  return `the variable ${name} is no setting${near === null ? '' : `; is SALLYPORT_${near} meant?`}`;
}
