// What clients get when the proxy speaks in a host's name. src/tls/leaf.ts makes the certificates.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type TLSSocket as Client, connect, TLSSocket } from 'node:tls';
import tap, { type Test } from 'tap';
import { createAuthority } from '../../src/tls/authority.ts';
import { ServerContexts } from '../../src/tls/contexts.ts';
import { within } from '../helpers/wire.ts';

const authority = createAuthority({ name: 'Proxy CA', nowMs: Date.now() });
const ticketKeys = randomBytes(48);

function contexts(nowMs = () => Date.now(), keys = ticketKeys, max = 10): ServerContexts {
  const clock = { wallMs: nowMs, monotonicMs: () => 0 };
  return new ServerContexts({ authority, ticketKeys: keys, clock, max });
}

/** A server that speaks for one host, and says a word. */
async function speaker(t: Test, from: ServerContexts, host: string): Promise<number> {
  const server = createServer((socket) => {
    const secure = new TLSSocket(socket, { isServer: true, secureContext: from.contextFor(host) });
    secure.on('error', () => {});
    secure.write('word');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function visit(
  port: number,
  servername: string,
  options: object = {},
): Promise<{ client: Client; session: Buffer | undefined; reused: boolean }> {
  let session: Buffer | undefined;
  const client = connect({
    port,
    host: '127.0.0.1',
    servername,
    ca: authority.certificatePem,
    ...options,
  });
  client.on('session', (given) => {
    session = given;
  });
  client.on('error', () => {});
  await within('the word', once(client, 'data'));
  const reused = client.isSessionReused();
  client.destroy();
  return { client, session, reused };
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  tap.test(
    `${version}: trusted, and resumed on another worker, with the same keys alone`,
    async (t) => {
      const limits = { maxVersion: version };
      const [one, other] = [
        await speaker(t, contexts(), 'a.test'),
        await speaker(t, contexts(), 'a.test'),
      ];
      const { client, session, reused } = await visit(one, 'a.test', limits);
      t.ok(client.authorized);
      t.notOk(reused);
      t.ok((await visit(other, 'a.test', { ...limits, session })).reused);
      const stranger = await speaker(t, contexts(undefined, randomBytes(48)), 'a.test');
      t.notOk((await visit(stranger, 'a.test', { ...limits, session })).reused);
    },
  );
}

tap.test('contexts are kept, made anew in time, and bounded', (t) => {
  let nowMs = Date.now();
  const kept = contexts(() => nowMs, ticketKeys, 2);
  const first = kept.contextFor('a.test');
  t.equal(kept.contextFor('a.test'), first);
  kept.contextFor('b.test');
  t.equal(kept.contextFor('a.test'), first, 'used lately');
  kept.contextFor('c.test');
  t.equal(kept.contextFor('a.test'), first);
  nowMs += 7 * 86_400_000;
  t.not(kept.contextFor('a.test'), first, 'its certificate ends soon');
  t.end();
});
