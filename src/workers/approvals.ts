// Questions to people, from a worker's exchanges to the daemon and back. One that nobody waits for any
// more is taken back, whether the client has left, the worker drains, or it has died.
import type { MessagePort } from 'node:worker_threads';
import { SallyportError } from '../base/errors.ts';
import type { ApprovalRequest, Approve } from '../proxy/approval.ts';
import type { Approval } from '../proxy/exchange.ts';

export type ApprovalQuestion =
  /** Answered by `approval` with the same number. */
  | ({ readonly type: 'approve'; readonly number: number } & ApprovalRequest)
  /** Nobody waits for that answer any more; it comes all the same. */
  | { readonly type: 'withdraw'; readonly number: number };

export type ApprovalAnswer = {
  readonly type: 'approval';
  readonly number: number;
  readonly approval: Approval;
};

type Asked = PromiseWithResolvers<Approval>;

/** The worker's side. */
export class Questions {
  readonly #post: (question: ApprovalQuestion) => void;
  readonly #asked = new Map<number, Asked>();
  #number = 0;
  #draining = false;

  constructor(post: (question: ApprovalQuestion) => void) {
    this.#post = post;
  }

  readonly ask: Approve = async (request, signal) => {
    if (signal.aborted) return 'refused';
    if (this.#draining) throw draining();
    const number = ++this.#number;
    const asked = Promise.withResolvers<Approval>();
    this.#asked.set(number, asked);
    const withdraw = (): void => this.#post({ type: 'withdraw', number });
    signal.addEventListener('abort', withdraw);
    this.#post({ type: 'approve', number, ...request });
    try {
      return await asked.promise;
    } finally {
      signal.removeEventListener('abort', withdraw);
      this.#asked.delete(number);
    }
  };

  answer({ number, approval }: ApprovalAnswer): void {
    this.#asked.get(number)?.resolve(approval);
  }

  /** Lets all go: their clients are told to come again. */
  drain(): void {
    this.#draining = true;
    for (const [number, asked] of this.#asked) {
      this.#post({ type: 'withdraw', number });
      asked.reject(draining());
    }
  }
}

function draining(): SallyportError {
  return new SallyportError('SALLYPORT_DRAINING', 'the proxy is shutting down');
}

export type OnApprove = (request: ApprovalRequest, signal: AbortSignal) => Promise<Approval>;

/** The daemon's side, for all workers. */
export class Answers {
  readonly #onApprove: OnApprove;
  readonly #open = new Map<MessagePort, Map<number, AbortController>>();

  /** @param onApprove  must not reject; answers soon once the signal is given. */
  constructor(onApprove: OnApprove) {
    this.#onApprove = onApprove;
  }

  receive(port: MessagePort, question: ApprovalQuestion): void {
    const open = this.#open.get(port) ?? new Map<number, AbortController>();
    this.#open.set(port, open);
    if (question.type === 'withdraw') open.get(question.number)?.abort();
    else void this.#answer(port, open, question);
  }

  /** That worker is gone. */
  forget(port: MessagePort): void {
    for (const controller of this.#open.get(port)?.values() ?? []) controller.abort();
    this.#open.delete(port);
  }

  async #answer(
    port: MessagePort,
    open: Map<number, AbortController>,
    { number, sandbox, host, port: hostPort, wait }: ApprovalQuestion & { type: 'approve' },
  ): Promise<void> {
    const controller = new AbortController();
    open.set(number, controller);
    const request = { sandbox, host, port: hostPort, wait };
    const approval = await this.#onApprove(request, controller.signal);
    open.delete(number);
    port.postMessage({ type: 'approval', number, approval } satisfies ApprovalAnswer);
  }
}
