// How the far side sees the end of a connection.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import tap, { type Test } from 'tap';
import { reset } from '../../src/proxy/reset.ts';
import { Wire } from '../helpers/wire.ts';

async function ended(t: Test, path: string | null): Promise<Wire> {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket));
  if (path === null) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const client = new Wire(
    path === null ? connect((server.address() as AddressInfo).port, '127.0.0.1') : connect(path),
  );
  const socket = await accepted.promise;
  reset(socket);
  reset(socket); // Nothing more to end.
  t.ok(socket.destroyed);
  await client.closed();
  return client;
}

tap.test('over TCP it is a reset', async (t) => {
  t.equal((await ended(t, null)).error, 'ECONNRESET');
});

tap.test('over a unix socket it is an end', async (t) => {
  t.equal((await ended(t, `${t.testdir()}/s`)).error, null);
});
