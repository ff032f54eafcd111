// TLS towards the destination: whoever cannot prove to be the host that was judged is not spoken to.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import tap, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import type { Address } from '../../src/policy/address.ts';
import type { Host } from '../../src/policy/host.ts';
import { Permit } from '../../src/proxy/decide.ts';
import { dialSecure, Trust } from '../../src/proxy/secure.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { tcpOrigin, within } from '../helpers/wire.ts';

const root = TestAuthority.create();
const trust = new Trust(systemClock, [root.pem]);

function permit(port: number, host = 'localhost', scope = 1): Permit {
  const target = { host: host as Host, port, method: 'GET', path: '/' };
  const addresses = ['127.0.0.1'] as Address[];
  return new Permit(target, { generation: 1, addresses, poolKey: `${scope} ${host} ${port}` });
}

async function origin(
  t: Test,
  options: TlsOptions,
): Promise<{ port: number; sockets: TLSSocket[] }> {
  const sockets: TLSSocket[] = [];
  const server = createServer(options, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write('hello');
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

tap.test('a certificate for the host, under a trusted authority', async (t) => {
  const good = root.issue({ names: 'DNS:localhost,IP:127.0.0.1' });
  const { port } = await origin(t, { ...good, ALPNProtocols: ['h2'] });
  for (const host of ['localhost', '127.0.0.1']) {
    const socket = await dialSecure(permit(port, host), ['h2', 'http/1.1'], trust);
    t.ok(socket.authorized, host);
    t.equal(socket.alpnProtocol, 'h2');
    t.equal(socket.getProtocol(), 'TLSv1.3');
    socket.destroy();
  }
});

tap.test('a chain with its intermediate, and one without', async (t) => {
  const below = root.below();
  const leaf = below.issue({ names: 'DNS:localhost' });
  const whole = await origin(t, { key: leaf.key, cert: leaf.cert + below.pem });
  const socket = await dialSecure(permit(whole.port), ['http/1.1'], trust);
  t.ok(socket.authorized);
  socket.destroy();
  const part = await origin(t, leaf);
  await t.rejects(dialSecure(permit(part.port), ['http/1.1'], trust), {
    code: 'SALLYPORT_UPSTREAM_CERTIFICATE',
    message: /localhost:\d+ is refused: UNABLE_TO_/,
  });
});

const stranger = TestAuthority.create('Somebody else');

for (const [name, options, code] of [
  ['expired', root.issue({ names: 'DNS:localhost', days: -1 }), 'CERT_HAS_EXPIRED'],
  ['another host', root.issue({ names: 'DNS:example.com' }), 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['no such authority', stranger.issue({ names: 'DNS:localhost' }), 'UNABLE_TO_'],
] as const) {
  tap.test(`a certificate that does not do: ${name}`, async (t) => {
    const { port, sockets } = await origin(t, options);
    await t.rejects(dialSecure(permit(port), ['http/1.1'], trust), {
      code: 'SALLYPORT_UPSTREAM_CERTIFICATE',
      status: 502,
      message: new RegExp(code),
    });
    for (const socket of sockets) t.equal(socket.bytesRead, 0, 'and nothing was said to it');
  });
}

tap.test('a key that is too weak', async (t) => {
  const weak = root.issue({ names: 'DNS:localhost', key: 'rsa1024' });
  const { port } = await origin(t, { ...weak, ciphers: 'DEFAULT:@SECLEVEL=0' });
  await t.rejects(dialSecure(permit(port), ['http/1.1'], trust), {
    code: 'SALLYPORT_UPSTREAM_CERTIFICATE',
    message: /key too (weak|small)/i,
  });
});

tap.test('no TLS, or an old one, is no reason to do without', async (t) => {
  const plain = await tcpOrigin((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
  t.teardown(() => plain.close());
  await t.rejects(dialSecure(permit(plain.port), ['http/1.1'], trust), {
    code: 'SALLYPORT_UPSTREAM_UNREACHABLE',
  });
  const good = root.issue({ names: 'DNS:localhost' });
  const old = await origin(t, {
    ...good,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT:@SECLEVEL=0',
  });
  await t.rejects(dialSecure(permit(old.port), ['http/1.1'], trust), {
    code: 'SALLYPORT_UPSTREAM_UNREACHABLE',
  });
});

tap.test('the environment cannot switch verification off', async (t) => {
  const { port, sockets } = await origin(t, stranger.issue({ names: 'DNS:localhost' }));
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  t.teardown(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
  await t.rejects(dialSecure(permit(port), ['http/1.1'], trust), {
    code: 'SALLYPORT_UPSTREAM_CERTIFICATE',
  });
  for (const socket of sockets) t.equal(socket.bytesRead, 0);
});

const HOUR_MS = 3_600_000;

for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
  tap.test(`${maxVersion} sessions end when their certificate is to be seen again`, async (t) => {
    const leaf = root.issue({ names: 'DNS:localhost', days: 1 });
    const { port } = await origin(t, { ...leaf, maxVersion });
    const startMs = Date.now();
    let nowMs = startMs;
    const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
    const watched = new Trust(clock, [root.pem]);
    const resumedAt = async (afterMs: number): Promise<boolean> => {
      nowMs = startMs + afterMs;
      const socket = await dialSecure(permit(port), ['http/1.1'], watched);
      await within('the ticket', once(socket, 'data'));
      const reused = socket.isSessionReused();
      socket.destroy();
      return reused;
    };
    t.notOk(await resumedAt(0));
    t.ok(await resumedAt(HOUR_MS / 2));
    t.notOk(await resumedAt(HOUR_MS), 'though it was resumed and so renewed meanwhile');
    t.ok(await resumedAt(HOUR_MS * 1.9));
    t.notOk(await resumedAt(HOUR_MS * 23.5));
    t.ok(await resumedAt(HOUR_MS * 23.9));
    t.notOk(await resumedAt(HOUR_MS * 24.1), 'its certificate has expired by now');
  });
}

tap.test('sessions are resumed, each sandbox its own', async (t) => {
  const { port } = await origin(t, root.issue({ names: 'DNS:localhost' }));
  const dialled = async (scope: number): Promise<boolean> => {
    const socket = await dialSecure(permit(port, 'localhost', scope), ['http/1.1'], trust);
    await within('the ticket', once(socket, 'data'));
    const reused = socket.isSessionReused();
    socket.destroy();
    return reused;
  };
  t.notOk(await dialled(1));
  t.ok(await dialled(1));
  t.notOk(await dialled(2));
});
