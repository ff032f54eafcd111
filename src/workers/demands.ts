// Secrets that are fetched when they are needed: asks the daemon, once at a time for each, and not
// again while the answer is young.
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { SECRET_DEMAND_MS } from '../base/limits.ts';

type Asked = {
  readonly id: string;
  readonly done: () => void;
  readonly fail: (error: Error) => void;
};

export class Demands {
  readonly #clock: Clock;
  readonly #post: (number: number, id: string) => void;
  readonly #asked = new Map<number, Asked>();
  readonly #pending = new Map<string, Promise<void>>();
  readonly #freshUntilMs = new Map<string, number>();
  #number = 0;

  /** @param post  sends `demand` to the daemon */
  constructor(clock: Clock, post: (number: number, id: string) => void) {
    this.#clock = clock;
    this.#post = post;
  }

  /** @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  async ask(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#ask(id)));
  }

  /** The daemon's `demanded`. */
  answer(number: number, error: string | null): void {
    const asked = this.#asked.get(number);
    this.#asked.delete(number);
    if (asked === undefined) return;
    this.#pending.delete(asked.id);
    if (error === null) {
      this.#freshUntilMs.set(asked.id, this.#clock.monotonicMs() + SECRET_DEMAND_MS);
      asked.done();
    } else {
      asked.fail(new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', error));
    }
  }

  /** What there is no value of any more, or not yet, is asked for again. */
  forget(ids: readonly string[]): void {
    for (const id of ids) this.#freshUntilMs.delete(id);
  }

  #ask(id: string): Promise<void> | undefined {
    if ((this.#freshUntilMs.get(id) ?? 0) > this.#clock.monotonicMs()) return undefined;
    const pending = this.#pending.get(id);
    if (pending !== undefined) return pending;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const number = ++this.#number;
    this.#asked.set(number, { id, done: resolve, fail: reject });
    this.#pending.set(id, promise);
    this.#post(number, id);
    return promise;
  }
}
