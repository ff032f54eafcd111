import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import t from 'tap';
import type { Outcome } from '../../src/proxy/exchange.ts';
import { decodeOutcomes, encodeOutcomes } from '../../src/workers/outcomes.ts';

const first: Outcome = {
  slot: 7,
  time_ms: 1_763_683_200_123,
  sandbox: 'box',
  ingress: 'connect',
  mode: 'forward-bypass',
  method: 'CONNECT',
  path: null,
  host: 'example.com',
  port: 443,
  address: '192.0.2.1',
  verdict: 'allow',
  deny_kind: null,
  rule: 'r1',
  source: 'local',
  reason: null,
  code: null,
  status: 200,
  bytes_up: 2 ** 40 + 1,
  bytes_down: 3,
  decide_ms: 0.125,
  connect_ms: 1.5,
  duration_ms: 20.25,
  bypass: '*.example.com',
  injected: 'one,two',
  masked: 2,
  generation: 9,
};
const second: Outcome = {
  ...first,
  slot: 0,
  sandbox: '',
  ingress: 'forward',
  mode: 'forward',
  method: 'GET',
  path: '/a/b',
  host: 'münchen.example "quoted"\n',
  address: null,
  verdict: 'deny',
  deny_kind: 'implicit',
  rule: null,
  source: null,
  reason: 'why',
  code: 'SALLYPORT_DENIED',
  status: 403,
};

t.test('every field arrives as it left, over a real port', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const batch = encodeOutcomes([first, second, first]);
  port1.postMessage(batch, [batch.cells.buffer as ArrayBuffer]);
  const { message } = receiveMessageOnPort(port2) ?? { message: null };
  t.strictSame(decodeOutcomes(message), [first, second, first]);
  t.equal(new Set(message.words).size, message.words.length, 'each string crosses once');
  port1.close();
});

t.test('an empty batch is empty', async (t) => {
  t.strictSame(decodeOutcomes(encodeOutcomes([])), []);
});
