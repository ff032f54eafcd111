// Secrets that are fetched when they are needed: asks the daemon, once at a time for each, and not
// again while the answer is young.
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { SECRET_DEMAND_MS } from '../base/limits.ts';
import type { SignedIn } from '../credentials/token-exchange.ts';

/** What the daemon is asked for; it answers each number once. */
export type Question =
  | {
      readonly type: 'demand';
      readonly number: number;
      readonly id: string;
      readonly renew: boolean;
    }
  | { readonly type: 'keep'; readonly number: number; readonly signedIn: SignedIn };

type Asked = {
  /** Of those that wait for one answer together; null: it waits alone. */
  readonly id: string | null;
  readonly done: () => void;
  readonly fail: (error: Error) => void;
};

export class Demands {
  readonly #clock: Clock;
  readonly #post: (question: Question) => void;
  readonly #asked = new Map<number, Asked>();
  readonly #pending = new Map<string, Promise<void>>();
  readonly #freshUntilMs = new Map<string, number>();
  #number = 0;

  /** @param post  sends it to the daemon */
  constructor(clock: Clock, post: (question: Question) => void) {
    this.#clock = clock;
    this.#post = post;
  }

  /** @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  async ask(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#ask(id)));
  }

  /** Has another access token got, though the last one may serve. @throws as `ask` */
  renew(id: string): Promise<void> {
    return this.#put(null, (number) => ({ type: 'demand', number, id, renew: true }));
  }

  /** Has kept what a sandbox signed in for. @throws as `ask` */
  keep(signedIn: SignedIn): Promise<void> {
    return this.#put(null, (number) => ({ type: 'keep', number, signedIn }));
  }

  /** The daemon's `demanded`. */
  answer(number: number, error: string | null): void {
    const asked = this.#asked.get(number);
    this.#asked.delete(number);
    if (asked === undefined) return;
    if (asked.id !== null) this.#pending.delete(asked.id);
    if (error === null) {
      const untilMs = this.#clock.monotonicMs() + SECRET_DEMAND_MS;
      if (asked.id !== null) this.#freshUntilMs.set(asked.id, untilMs);
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
    const asked = this.#put(id, (number) => ({ type: 'demand', number, id, renew: false }));
    this.#pending.set(id, asked);
    return asked;
  }

  #put(id: string | null, question: (number: number) => Question): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const number = ++this.#number;
    this.#asked.set(number, { id, done: resolve, fail: reject });
    this.#post(question(number));
    return promise;
  }
}
