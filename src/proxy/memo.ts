// Answers that are worth keeping for a while. Who asks while one is being fetched waits for that one.

export type Timed<T> = { readonly value: T; readonly forMs: number };

type Kept<T> = { readonly answer: Promise<T>; untilMs: number };

/** A bounded memory of answers by key, each with a life of its own. */
export class Memo<T> {
  readonly #kept = new Map<string, Kept<T>>();
  readonly #sizeMax: number;
  readonly #failureMs: (error: unknown) => number;

  /** @param failureMs  how long a failure is remembered; 0: the next one tries again. */
  constructor(sizeMax: number, failureMs: (error: unknown) => number) {
    this.#sizeMax = sizeMax;
    this.#failureMs = failureMs;
  }

  /** @returns what is kept under the key, or what `fetch` gives. */
  get(key: string, nowMs: () => number, fetch: () => Promise<Timed<T>>): Promise<T> {
    const known = this.#kept.get(key);
    if (known !== undefined && known.untilMs > nowMs()) return known.answer;
    const settle = (forMs: number): void => {
      kept.untilMs = nowMs() + forMs;
    };
    const answer = fetch().then(
      ({ value, forMs }) => {
        settle(forMs);
        return value;
      },
      (error: unknown) => {
        settle(this.#failureMs(error));
        throw error;
      },
    );
    const kept: Kept<T> = { answer, untilMs: Number.POSITIVE_INFINITY };
    if (this.#kept.size >= this.#sizeMax) this.#kept.clear();
    this.#kept.set(key, kept);
    return answer;
  }

  forget(key: string): void {
    this.#kept.delete(key);
  }
}
