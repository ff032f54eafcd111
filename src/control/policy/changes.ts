// Changes of the policy, one batch after another: compiled, written to the disk, put in force in all
// workers, and only then answered. What a change is, policy.ts says.
import { SallyportError } from '../../base/errors.ts';
import { POLICY_CHANGES_WAITING_MAX } from '../../base/limits.ts';
import { inForce } from '../../policy/precedence.ts';
import type { Rule } from '../../policy/rule.ts';
import type { Store, StoreChange } from '../store.ts';
import { Draft, type RuleSet } from './draft.ts';

/** What the policy needs of matcher/publish.ts. */
export type PolicyPublisher<Prepared> = {
  readonly generation: number;
  prepare(rules: readonly Rule[]): Prepared;
  commit(prepared: Prepared): Promise<unknown>;
};

type Work = {
  apply(draft: Draft): void;
  readonly done: PromiseWithResolvers<void>;
  /** Whether it is to be in force whatever the disk says. */
  readonly isDue: boolean;
};

export class Changes<Prepared> {
  readonly #store: Store;
  readonly #publisher: PolicyPublisher<Prepared>;
  #current: RuleSet;
  #waiting: Work[] = [];
  /** Rules that are no longer in force, but still on a disk that refused. */
  #owed: readonly string[] = [];
  /** Takes a change off the disk that never came into force; the disk refused that, too. */
  #undo: StoreChange | null = null;
  #running: Promise<void> | null = null;

  constructor(store: Store, publisher: PolicyPublisher<Prepared>) {
    this.#store = store;
    this.#publisher = publisher;
    const rules = store.rules();
    const byId = new Map(rules.map((rule) => [rule.id, rule]));
    const pathRules = store.pathRules.all();
    this.#current = { rules, byId, pathRules, ...store.policySettings() };
  }

  /** What is in force. */
  get current(): RuleSet {
    return this.#current;
  }

  get generation(): number {
    return this.#publisher.generation;
  }

  /** Puts what is stored in force, for the first time. @throws what publishing throws */
  async start(): Promise<void> {
    const { rules, governance, semantics } = this.#current;
    const counting = inForce(rules, governance, semantics);
    await this.#publisher.commit(this.#publisher.prepare(counting));
  }

  /**
   * @returns when no change is under way, and the disk has what is in force.
   * @throws SALLYPORT_STORE_UNWRITABLE
   */
  async settled(): Promise<void> {
    await this.#running;
    this.#takeBack();
  }

  /**
   * Makes a change.
   *
   * @param apply  checks everything before it changes the draft; what it throws is the answer.
   * @throws SALLYPORT_OVERLOADED, SALLYPORT_POLICY_TOO_LARGE, SALLYPORT_PUBLISH_TIMEOUT,
   *   SALLYPORT_STORE_UNWRITABLE as long as an earlier one that failed cannot be taken off the disk
   */
  enqueue(apply: (draft: Draft) => void): Promise<void> {
    if (this.#waiting.length >= POLICY_CHANGES_WAITING_MAX) {
      const message = `${POLICY_CHANGES_WAITING_MAX} policy changes are waiting already`;
      return Promise.reject(new SallyportError('SALLYPORT_OVERLOADED', message));
    }
    return this.#add(apply, false);
  }

  /**
   * Ends what holds no longer, whatever the disk says and however many changes wait: it only takes
   * away, and what is still on the disk is seen to have ended at the next start.
   *
   * @throws SALLYPORT_PUBLISH_TIMEOUT
   */
  end(apply: (draft: Draft) => void): Promise<void> {
    return this.#add(apply, true);
  }

  #add(apply: Work['apply'], isDue: boolean): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ apply, done, isDue });
    this.#running ??= this.#run();
    return done.promise;
  }

  /** Batches: all that waits while one batch is published makes up the next. */
  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#publish(batch, batch.length > 1);
      } catch {
        // One of them does not fit or does not store; alone, each gets its own answer.
        for (const work of batch) await this.#publish([work], false);
      }
    }
    this.#running = null; // In the same turn as the look above: no change is left lying.
  }

  /** @throws only if `retry`, and then nothing has happened and nobody has been answered. */
  async #publish(batch: readonly Work[], retry: boolean): Promise<void> {
    const { draft, applied, refused } = this.#applyAll(batch);
    const before = this.#publisher.generation;
    try {
      const isDue = batch.every((work) => work.isDue);
      if (draft.changed) await this.#commit(draft, isDue);
    } catch (error) {
      if (retry && this.#publisher.generation === before) throw error; // Else it stands: not twice.
      for (const { done } of applied) done.reject(error);
    }
    for (const { done } of applied) done.resolve(); // Those that were not rejected.
    for (const [{ done }, error] of refused) done.reject(error);
  }

  #applyAll(batch: readonly Work[]): { draft: Draft; applied: Work[]; refused: [Work, unknown][] } {
    const draft = new Draft(this.#current);
    const applied: Work[] = [];
    const refused: [Work, unknown][] = [];
    for (const work of batch) {
      try {
        work.apply(draft); // Each checks everything before it changes the draft.
        applied.push(work);
      } catch (error) {
        refused.push([work, error]);
      }
    }
    return { draft, applied, refused };
  }

  async #commit(draft: Draft, isDue: boolean): Promise<void> {
    const rules = draft.result();
    const counting = inForce(rules, draft.governance, draft.semantics);
    const prepared = this.#publisher.prepare(counting);
    const isStored = this.#write(draft.change(), isDue);
    const before = this.#publisher.generation;
    try {
      await this.#publisher.commit(prepared);
    } catch (error) {
      // Not in force anywhere: take it back. In force but for one stuck lane: it stands, unacknowledged.
      if (this.#publisher.generation !== before) this.#current = draft.settle(rules);
      else if (isStored) {
        this.#undo = draft.inverse();
        this.#takeBack();
      }
      throw error;
    }
    this.#current = draft.settle(rules);
  }

  /** @returns false when the disk refused what is due; its next change takes that along. */
  #write(change: StoreChange, isDue: boolean): boolean {
    const remove = [...this.#owed, ...change.remove];
    try {
      this.#takeBack();
      this.#store.change({ ...change, remove });
      this.#owed = [];
      return true;
    } catch (error) {
      if (!isDue) throw error;
      this.#owed = remove;
      return false;
    }
  }

  /** Before anything else is stored: to count on a disk that has more than is in force would keep it there. */
  #takeBack(): void {
    if (this.#undo === null) return;
    try {
      this.#store.change(this.#undo);
    } catch (cause) {
      throw new SallyportError(
        'SALLYPORT_STORE_UNWRITABLE',
        'a change that failed is not in force, but cannot be taken off the disk, where the next start would find it; no change is taken until it is',
        { cause },
      );
    }
    this.#undo = null;
  }
}
