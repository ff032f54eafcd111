// Work that is shared out by who wants it: each has a few pieces under way, and the rest of theirs waits
// in a line of their own. What the work is, it does not know.

type Begin = () => Promise<unknown>;
type Line = { running: number; readonly waiting: Set<Begin> };

export class Turns {
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #lines = new Map<number, Line>();

  /** Both of one key. */
  constructor(runningMax: number, waitingMax: number) {
    this.#runningMax = runningMax;
    this.#waitingMax = waitingMax;
  }

  /**
   * Calls `begin` when it is its turn, at once if it is; the turn lasts until its promise is settled.
   *
   * @returns leaves the line, if it is still in it; null: the line is full.
   */
  wait(key: number, begin: Begin): (() => void) | null {
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { running: 0, waiting: new Set() };
      this.#lines.set(key, line);
    }
    const { waiting } = line;
    if (line.running >= this.#runningMax && waiting.size >= this.#waitingMax) return null;
    if (line.running < this.#runningMax) this.#run(key, line, begin);
    else waiting.add(begin);
    return () => void waiting.delete(begin);
  }

  #run(key: number, line: Line, begin: Begin): void {
    line.running++;
    const next = (): void => {
      line.running--;
      const [first] = line.waiting;
      if (first !== undefined) {
        line.waiting.delete(first);
        this.#run(key, line, first);
      } else if (line.running === 0) {
        this.#lines.delete(key);
      }
    };
    begin().then(next, next);
  }
}
