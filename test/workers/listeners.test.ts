import t from 'tap';
import { listenersOf } from '../../src/workers/listeners.ts';
import type { Listen, SandboxRecord, ServeSettings } from '../../src/workers/messages.ts';
import { TLS_SETTINGS } from '../helpers/tls-settings.ts';

const settings: ServeSettings = {
  listen: { kind: 'tcp', host: '127.0.0.1', port: 3128 },
  reusePort: true,
  defaultSandbox: null,
  addressGuard: 'strict',
  via: false,
  forwardedFor: false,
  ownAddresses: [],
  dnsServers: [],
  logLevel: 'info',
  ...TLS_SETTINGS,
};

function sandbox(name: string, listen: Listen | null): SandboxRecord {
  return {
    name,
    scope: 1,
    tokenSha256: '',
    listen,
    sourceAddress: null,
    deny: null,
    phase: 'runtime',
  };
}

const boxes = [
  sandbox('none', null),
  sandbox('port', { kind: 'tcp', host: '127.0.0.1', port: 4000 }),
  sandbox('path', { kind: 'unix', path: '/run/x.sock' }),
];

function names(worker: number, reusePort = true): (string | null)[] {
  return listenersOf({ ...settings, reusePort }, boxes, worker).map(({ sandbox: name }) => name);
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
  const at = (port: number): string | undefined =>
    listenersOf(settings, [sandbox('a', { kind: 'tcp', host: '::1', port })], 0)[1]?.key;
  t.not(at(1), at(2));
  t.equal(at(1), at(1));
});
