// The settings of a daemon that runs: a change is checked, written, put in force where that is possible,
// and only then answered. The file may be edited by hand as well, and is looked at every few seconds.
import { unwatchFile, watchFile } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { SETTINGS_WATCH_MS } from '../../base/limits.ts';
import { type Effects, instanceOptions } from './effect.ts';
import { checkKey, readOverrides, writeOverrides } from './file.ts';
import { isLive, SETTING_KEYS, type SettingKey, type SettingValues } from './keys.ts';
import { removeOverride, type SettingRecord, Settings } from './settings.ts';

/** With whether a restart would change what is in use. */
export type LiveRecord = SettingRecord & { readonly restart_pending: boolean };

export type LiveOptions = {
  /** What it was started with. */
  readonly started: Settings;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly effects: Effects;
  /** Tells all workers what holds now. */
  readonly configure: () => Promise<void>;
  /** What became of an edit by hand; null for one that was taken over. */
  readonly report: (error: unknown) => void;
};

export class LiveSettings {
  readonly #options: LiveOptions;
  #settings: Settings;
  #inUse: SettingValues;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#settings = options.started;
    this.#inUse = options.started.values;
  }

  /** What is in use; what waits for a restart is not yet in it. */
  get values(): SettingValues {
    return this.#inUse;
  }

  records(): LiveRecord[] {
    return SETTING_KEYS.map((key) => this.record(key));
  }

  /** @throws SALLYPORT_NOT_FOUND naming the nearest key */
  record(name: string): LiveRecord {
    const key = checkKey(name);
    const record = this.#settings.record(key);
    return { ...record, restart_pending: !isSame(record.value, this.#inUse[key]) };
  }

  /**
   * Writes a value to the file.
   *
   * @throws SALLYPORT_NOT_FOUND, SALLYPORT_SETTING_INVALID; nothing is changed then.
   */
  set(name: string, value: unknown): Promise<LiveRecord> {
    return this.#inTurn(async () => {
      const key = checkKey(name);
      const { path } = this.#settings.place;
      const before = readOverrides(path);
      const next = Settings.load(this.#settings.place).with(key, value);
      this.#check(next); // What could not start is not written.
      next.save();
      await this.#adopt(next, before);
      return this.record(key);
    });
  }

  /** Takes a value out of the file. @throws SALLYPORT_NOT_FOUND */
  unset(name: string): Promise<LiveRecord> {
    return this.#inTurn(async () => {
      const { path } = this.#settings.place;
      const before = readOverrides(path);
      removeOverride(path, name);
      await this.#adopt(Settings.load(this.#settings.place), before);
      return this.record(name);
    });
  }

  /** Takes over what somebody wrote to the file. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        const next = Settings.load(this.#settings.place);
        this.#check(next);
        await this.#adopt(next, null);
      } catch (error) {
        this.#options.report(error);
      }
    });
  }

  /** @returns what ends the watch. */
  watch(): () => void {
    const { path } = this.#settings.place;
    const onChange = (): void => void this.refresh();
    watchFile(path, { interval: SETTINGS_WATCH_MS, persistent: false }, onChange);
    return () => unwatchFile(path, onChange);
  }

  /** A fault that was there before, such as a certificate that has ended, keeps nothing from changing. */
  #check(next: Settings): void {
    const fault = this.#faultOf(next);
    if (fault !== null && fault.message !== this.#faultOf(this.#settings)?.message) throw fault;
  }

  #faultOf({ values }: Settings): SallyportError | null {
    try {
      instanceOptions(values, this.#options.clock.wallMs());
      return null;
    } catch (error) {
      if (error instanceof SallyportError) return error;
      throw error;
    }
  }

  /** @param before  what the file had, to be given back should the change fail */
  async #adopt(next: Settings, before: Record<string, unknown> | null): Promise<void> {
    const old = this.#inUse;
    const changed = SETTING_KEYS.filter((key) => !isSame(old[key], next.values[key]));
    try {
      await this.#apply(changed, next.values);
    } catch (error) {
      if (before !== null) writeOverrides(next.place.path, before);
      await this.#apply(changed, old).catch(() => {}); // What holds is told by `values` in any case.
      throw error;
    }
    this.#settings = next;
  }

  async #apply(changed: readonly SettingKey[], values: SettingValues): Promise<void> {
    const live = changed.filter(isLive);
    const { effects, configure } = this.#options;
    for (const key of live) {
      const effect = effects[key] as (value: unknown) => void | Promise<void>; // Of this key's type.
      await effect(values[key]);
    }
    if (live.length > 0) await configure();
    this.#inUse = {
      ...this.#inUse,
      ...Object.fromEntries(live.map((key) => [key, values[key]])),
    };
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
