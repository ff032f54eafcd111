import t from 'tap';
import { listenersOf } from '../../src/workers/listeners.ts';
import { SERVE_SETTINGS, sandboxRecord } from '../helpers/serve-settings.ts';

const boxes = [
  sandboxRecord('none'),
  sandboxRecord('port', { listen: { kind: 'tcp', host: '127.0.0.1', port: 4000 } }),
  sandboxRecord('path', { listen: { kind: 'unix', path: '/run/x.sock' } }),
];

function names(worker: number, reusePort = true): (string | null)[] {
  return listenersOf({ ...SERVE_SETTINGS, reusePort }, boxes, worker).map(
    ({ sandbox: name }) => name,
  );
}

t.test(
  'every worker has the shared listener and shared ports; unix paths go to the first',
  async (t) => {
    t.strictSame(names(0), [null, 'port', 'path']);
    t.strictSame(names(1), [null, 'port']);
    t.strictSame(names(1, false), [null], 'without SO_REUSEPORT the first takes all');
  },
);

t.test('a listener that moved has another key, so that the old one is closed', async (t) => {
  const at = (port: number): string | undefined => {
    const listen = { kind: 'tcp', host: '::1', port } as const;
    return listenersOf(SERVE_SETTINGS, [sandboxRecord('a', { listen })], 0)[1]?.key;
  };
  t.not(at(1), at(2));
  t.equal(at(1), at(1));
});
