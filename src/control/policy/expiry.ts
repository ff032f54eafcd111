// Rules that end: they are taken out of force when their time has come, also while the clock is set or
// the machine sleeps, and at the start before anything is in force.
import type { Clock } from '../../base/clock.ts';
import { EXPIRY_LOOK_MS } from '../../base/limits.ts';

type Ending = { readonly id: string; readonly expiresAtMs?: number | undefined };

export class Expiry {
  readonly #clock: Pick<Clock, 'wallMs'>;
  /** @returns when they are out of force */
  readonly #remove: (ids: readonly string[]) => Promise<void>;
  readonly #report: (error: unknown) => void;
  readonly #atMs = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(
    clock: Pick<Clock, 'wallMs'>,
    remove: (ids: readonly string[]) => Promise<void>,
    report: (error: unknown) => void,
  ) {
    this.#clock = clock;
    this.#remove = remove;
    this.#report = report;
  }

  /** Looks after those of the rules that end. */
  watch(rules: Iterable<Ending>): void {
    for (const { id, expiresAtMs } of rules) {
      if (expiresAtMs !== undefined) this.#atMs.set(id, expiresAtMs);
    }
    this.#schedule();
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#atMs.clear();
  }

  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#atMs.size === 0) return;
    const leftMs = Math.min(...this.#atMs.values()) - this.#clock.wallMs();
    const waitMs = Math.min(Math.max(leftMs, 0), EXPIRY_LOOK_MS);
    this.#timer = setTimeout(() => void this.#look(), waitMs);
    this.#timer.unref();
  }

  /** What cannot be removed now is tried again at the next look. */
  async #look(): Promise<void> {
    const nowMs = this.#clock.wallMs();
    const over = [...this.#atMs].flatMap(([id, atMs]) => (atMs <= nowMs ? [id] : []));
    try {
      if (over.length > 0) await this.#remove(over);
      for (const id of over) this.#atMs.delete(id);
    } catch (error) {
      this.#report(error);
      for (const id of over) this.#atMs.set(id, nowMs + EXPIRY_LOOK_MS);
    }
    this.#schedule();
  }
}
