// Questions between a worker and the daemon over a real port, with what ends them early.
import { MessageChannel } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { ApprovalRequest } from '../../src/proxy/approval.ts';
import type { Approval } from '../../src/proxy/exchange.ts';
import {
  Answers,
  type ApprovalAnswer,
  type ApprovalQuestion,
  type OnApprove,
  Questions,
} from '../../src/workers/approvals.ts';

const REQUEST: ApprovalRequest = { sandbox: 'box', host: 'a.test', port: 443, wait: true };

function pair(t: Test, onApprove: OnApprove) {
  const { port1, port2 } = new MessageChannel();
  t.teardown(() => port1.close());
  const answers = new Answers(onApprove);
  const questions = new Questions((question) => port2.postMessage(question));
  port1.on('message', (question: ApprovalQuestion) => answers.receive(port1, question));
  port2.on('message', (answer: ApprovalAnswer) => questions.answer(answer));
  return { answers, questions, port: port1 };
}

/** Holds each question until its signal is given. */
function holding() {
  const held: PromiseWithResolvers<AbortSignal>[] = [Promise.withResolvers()];
  let number = 0;
  const onApprove: OnApprove = (_, signal) => {
    held[number++]?.resolve(signal);
    held[number] = Promise.withResolvers();
    const { promise, resolve } = Promise.withResolvers<Approval>();
    signal.addEventListener('abort', () => resolve('refused'));
    return promise;
  };
  return { onApprove, held };
}

t.test('each question has its own answer', async (t) => {
  const { questions } = pair(t, async ({ host }) => (host === 'a.test' ? 'rule' : 'once'));
  const never = new AbortController().signal;
  const both = [REQUEST, { ...REQUEST, host: 'b.test' }];
  t.strictSame(await Promise.all(both.map((one) => questions.ask(one, never))), ['rule', 'once']);
});

t.test('a client that leaves takes its question back', async (t) => {
  const { onApprove, held } = holding();
  const { questions } = pair(t, onApprove);
  const client = new AbortController();
  const asked = questions.ask(REQUEST, client.signal);
  const signal = await held[0]?.promise;
  client.abort();
  t.equal(await asked, 'refused');
  t.ok(signal?.aborted);
  t.equal(await questions.ask(REQUEST, client.signal), 'refused', 'and is not asked for again');
});

t.test('a worker that drains lets all go', async (t) => {
  const { onApprove, held } = holding();
  const { questions } = pair(t, onApprove);
  const never = new AbortController().signal;
  const asked = questions.ask(REQUEST, never);
  const signal = await held[0]?.promise;
  const given = Promise.withResolvers<void>();
  signal?.addEventListener('abort', () => given.resolve());
  questions.drain();
  await t.rejects(asked, { code: 'SALLYPORT_DRAINING' });
  await t.rejects(questions.ask(REQUEST, never), { code: 'SALLYPORT_DRAINING' });
  await given.promise;
});

t.test('those of a worker that died are taken back', async (t) => {
  const { onApprove, held } = holding();
  const { questions, answers, port } = pair(t, onApprove);
  void questions.ask(REQUEST, new AbortController().signal);
  const signal = await held[0]?.promise;
  answers.forget(port);
  t.ok(signal?.aborted);
});
