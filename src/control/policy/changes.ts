// Changes of the policy, one batch after another: compiled, written to the disk, put in force in all
// workers, and only then answered. What a change is, policy.ts says.
import { SallyportError } from '../../base/errors.ts';
import { POLICY_CHANGES_WAITING_MAX } from '../../base/limits.ts';
import { inForce } from '../../policy/precedence.ts';
import type { Rule } from '../../policy/rule.ts';
import type { Store } from '../store.ts';
import { Draft, type RuleSet } from './draft.ts';

/** What the policy needs of matcher/publish.ts. */
export type PolicyPublisher<Prepared> = {
  readonly generation: number;
  prepare(rules: readonly Rule[]): Prepared;
  commit(prepared: Prepared): Promise<unknown>;
};

type Work = { apply(draft: Draft): void; readonly done: PromiseWithResolvers<void> };

export class Changes<Prepared> {
  readonly #store: Store;
  readonly #publisher: PolicyPublisher<Prepared>;
  #current: RuleSet;
  #waiting: Work[] = [];
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

  /** @returns when no change is under way. */
  async settled(): Promise<void> {
    await this.#running;
  }

  /**
   * Makes a change.
   *
   * @param apply  checks everything before it changes the draft; what it throws is the answer.
   * @throws SALLYPORT_OVERLOADED, SALLYPORT_POLICY_TOO_LARGE, SALLYPORT_PUBLISH_TIMEOUT
   */
  enqueue(apply: (draft: Draft) => void): Promise<void> {
    if (this.#waiting.length >= POLICY_CHANGES_WAITING_MAX) {
      const message = `${POLICY_CHANGES_WAITING_MAX} policy changes are waiting already`;
      return Promise.reject(new SallyportError('SALLYPORT_OVERLOADED', message));
    }
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ apply, done });
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
    try {
      if (draft.changed) await this.#commit(draft);
    } catch (error) {
      if (retry) throw error;
      for (const { done } of applied) done.reject(error);
      return;
    }
    for (const { done } of applied) done.resolve();
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

  async #commit(draft: Draft): Promise<void> {
    const rules = draft.result();
    const counting = inForce(rules, draft.governance, draft.semantics);
    const prepared = this.#publisher.prepare(counting);
    this.#store.change(draft.change());
    const before = this.#publisher.generation;
    try {
      await this.#publisher.commit(prepared);
    } catch (error) {
      // Not in force anywhere: take it back. In force but for one stuck lane: it stands, unacknowledged.
      if (this.#publisher.generation === before) this.#store.change(draft.inverse());
      else this.#current = draft.settle(rules);
      throw error;
    }
    this.#current = draft.settle(rules);
  }
}
