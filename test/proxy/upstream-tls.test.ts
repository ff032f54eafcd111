// TLS towards origins as clients of the proxy meet it: one that cannot prove to be the host gets not
// one byte of a request, whoever asks gets 502 and why, and nothing less is tried. And what makes the
// next connection cheaper: ALPN, resumed sessions. src/proxy/secure.ts has tests of its own beside it.
import { createSecureServer, type Http2SecureServer, type SecureServerOptions } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import tap, { type Test } from 'tap';
import type { Outcome } from '../../src/proxy/exchange.ts';
import { type Issued, TestAuthority } from '../helpers/certificates.ts';
import {
  ask,
  http2Inside,
  interceptor,
  listening,
  SECRET,
  tlsInside,
} from '../helpers/intercept.ts';
import { ocspAnswer } from '../helpers/ocsp.ts';
import { authorizationOf, type TestProxy } from '../helpers/proxy.ts';
import { tcpOrigin, Wire, within } from '../helpers/wire.ts';

const root = TestAuthority.create();
const names = 'DNS:localhost';

type Met = {
  readonly port: number;
  /** TCP connections. */
  connections: number;
  /** Authorization fields of requests. */
  readonly seen: string[];
  /** Of each TLS connection: its protocol, and whether it resumed a session. */
  readonly handshakes: { readonly alpn: unknown; readonly resumed: boolean }[];
};

async function origin(
  t: Test,
  options: SecureServerOptions,
  also: (server: Http2SecureServer) => void = () => {},
  make = createSecureServer,
): Promise<Met> {
  const server = make({ allowHTTP1: true, ...options }, (request, response) => {
    met.seen.push(request.headers.authorization ?? '');
    response.end(`over ${request.httpVersion}`);
  });
  also(server);
  server.on('tlsClientError', () => {});
  server.on('connection', () => met.connections++);
  server.on('secureConnection', (socket: TLSSocket) => {
    met.handshakes.push({ alpn: socket.alpnProtocol, resumed: socket.isSessionReused() });
  });
  const port = await listening(t, server as unknown as Server);
  const met: Met = { port, connections: 0, seen: [], handshakes: [] };
  return met;
}

type Answer = { readonly status: number; readonly content: string };

async function http1(t: Test, proxy: TestProxy, port: number, fields = ''): Promise<Answer> {
  const wire = new Wire(await tlsInside(t, proxy, port, 'http/1.1', fields));
  wire.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  const answer = await wire.response();
  wire.socket.destroy();
  return answer;
}

async function http2(t: Test, proxy: TestProxy, port: number): Promise<Answer> {
  const session = await http2Inside(t, proxy, port);
  const answer = await ask(session, { ':path': '/' });
  session.destroy();
  return answer;
}

/** The outcome of a request inside a tunnel; that of the tunnel comes when it ends. */
async function requestAt(proxy: TestProxy, index: number): Promise<Outcome> {
  for (;;) {
    const outcome = proxy.outcomes.filter(({ method }) => method === 'GET')[index];
    if (outcome !== undefined) return outcome;
    await within('an outcome', proxy.nextOutcome());
  }
}

const stranger = TestAuthority.create('Somebody else');
const below = root.below();
const old = root.below({ days: -1 });
const noAuthority = root.below({ authority: false });
const narrow = root.below({ extensions: ['nameConstraints=permitted;DNS:example.com'] });
const small = root.below({ key: 'rsa1024' });
const revoked = root.issue({ names });
const promising = root.issue({ names, extensions: ['tlsfeature=status_request'] });
const insecure = { ciphers: 'DEFAULT:@SECLEVEL=0' };

function withChain({ key, cert }: Issued, ...above: readonly TestAuthority[]): Issued {
  return { key, cert: cert + above.map(({ pem }) => pem).join('') };
}

function stapling(staple: Buffer): (server: Http2SecureServer) => void {
  return (server) => server.on('OCSPRequest', (_, __, done) => done(null, staple));
}

type Case = readonly [
  name: string,
  word: RegExp,
  options: SecureServerOptions,
  also?: (server: Http2SecureServer) => void,
];

const CASES: readonly Case[] = [
  ['expired', /CERT_HAS_EXPIRED/, root.issue({ names, days: -1 })],
  ['not begun', /CERT_NOT_YET_VALID/, root.issue({ names, from: '20990101000000Z' })],
  ['self-signed', /DEPTH_ZERO_SELF_SIGNED_CERT/, TestAuthority.selfSigned(names)],
  ['of an unknown authority', /UNABLE_TO_/, stranger.issue({ names })],
  [
    'with its unknown authority',
    /SELF_SIGNED_CERT_IN_CHAIN/,
    withChain(stranger.issue({ names }), stranger),
  ],
  ['of another host', /ALTNAME_INVALID/, root.issue({ names: 'DNS:example.com' })],
  ['of a host below', /ALTNAME_INVALID/, root.issue({ names: 'DNS:*.localhost' })],
  ['of the address, not the name', /ALTNAME_INVALID/, root.issue({ names: 'IP:127.0.0.1' })],
  ['without its intermediate', /UNABLE_TO_/, below.issue({ names })],
  ['under an expired one', /CERT_HAS_EXPIRED/, withChain(old.issue({ names }), old)],
  [
    'under no authority',
    /INVALID_(?:CA|PURPOSE)/,
    withChain(noAuthority.issue({ names }), noAuthority),
  ],
  ['beyond name constraints', /permitted subtree/, withChain(narrow.issue({ names }), narrow)],
  [
    'for clients alone',
    /INVALID_PURPOSE/,
    root.issue({ names, extensions: ['extendedKeyUsage=clientAuth'] }),
  ],
  [
    'with a short key',
    /key too (?:small|weak)/i,
    { ...root.issue({ names, key: 'rsa1024' }), ...insecure },
  ],
  [
    'under a short key',
    /key too (?:small|weak)/i,
    { ...withChain(small.issue({ names }), small), ...insecure },
  ],
  [
    'signed with SHA-1',
    /signature digest algorithm too weak/,
    { ...root.issue({ names, digest: 'sha1' }), ...insecure },
  ],
  [
    'revoked, as its host says itself',
    /CERT_REVOKED/,
    revoked,
    stapling(ocspAnswer(root, revoked, 'revoked')),
  ],
  ['without the status that it promises', /CERT_STATUS_MISSING/, promising],
  [
    'with a status that nobody knows',
    /CERT_STATUS_NOT_GOOD/,
    promising,
    stapling(ocspAnswer(root, promising, 'unknown')),
  ],
];

for (const [name, word, options, also] of CASES) {
  tap.test(`a certificate that is ${name}: 502, and nothing is sent`, async (t) => {
    const met = await origin(t, options, also);
    const proxy = await interceptor(t, [met.port], { trusted: [root.pem] });
    for (const [index, asked] of [http1, http2].entries()) {
      const { status, content } = await asked(t, proxy, met.port);
      t.equal(status, 502);
      t.match(content, /SALLYPORT_UPSTREAM_CERTIFICATE/);
      t.match(content, word);
      const outcome = await requestAt(proxy, index);
      t.match(outcome, { code: 'SALLYPORT_UPSTREAM_CERTIFICATE', status: 502, reason: word });
      t.equal(met.connections, index + 1, 'and it was not tried in another way');
    }
    t.strictSame(met.seen, []);
  });
}

tap.test('certificates that do', async (t) => {
  const leaf = below.issue({ names });
  for (const [options, also] of [
    [root.issue({ names })],
    [withChain(leaf, below)],
    [revoked, stapling(ocspAnswer(root, revoked, 'good'))],
    [promising, stapling(ocspAnswer(root, promising, 'good'))],
    [{ ...root.issue({ names, key: 'rsa2048' }), maxVersion: 'TLSv1.2' as const }],
  ] as const) {
    const met = await origin(t, options, also);
    const proxy = await interceptor(t, [met.port], { trusted: [root.pem] });
    t.match(await http1(t, proxy, met.port), { status: 200, content: 'over 1.1' });
    t.match(await http2(t, proxy, met.port), { status: 200, content: 'over 2.0' });
    t.strictSame(met.seen, [`Bearer ${SECRET}`, `Bearer ${SECRET}`]);
  }
});

tap.test('ALPN: what the client speaks, where the origin does', async (t) => {
  const leaf = root.issue({ names });
  const both = await origin(t, leaf);
  const only1 = createHttpsServer as unknown as typeof createSecureServer;
  const one = await origin(t, { ...leaf, ALPNProtocols: ['http/1.1'] }, undefined, only1);
  const none = await origin(t, { ...leaf, ALPNProtocols: [] }, undefined, only1);
  const ports = [both.port, one.port, none.port];
  const proxy = await interceptor(t, ports, { trusted: [root.pem] });
  for (const [{ port }, over2] of [
    [both, 'over 2.0'],
    [one, 'over 1.1'],
    [none, 'over 1.1'],
  ] as const) {
    t.equal((await http2(t, proxy, port)).content, over2);
    t.equal((await http1(t, proxy, port)).content, 'over 1.1');
  }
  const protocols = ({ handshakes }: Met) => handshakes.map(({ alpn }) => alpn);
  t.strictSame(protocols(both), ['h2', 'http/1.1']);
  t.strictSame(protocols(one), ['http/1.1'], 'the connection that was asked on serves both');
  t.strictSame(protocols(none), [false]);
});

for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
  tap.test(`${maxVersion} sessions are resumed, by their own sandbox alone`, async (t) => {
    // The answer ends the connection, so each request has another.
    const also = (server: Http2SecureServer): void => {
      server.prependListener('request', (_, response) => response.setHeader('connection', 'close'));
    };
    const met = await origin(t, { ...root.issue({ names }), maxVersion }, also);
    const sandboxes = [{ name: 'other', scope: 2 }];
    const proxy = await interceptor(t, [met.port], { trusted: [root.pem], sandboxes });
    const other = `Proxy-Authorization: ${authorizationOf('other')}\r\n`;
    for (const [fields, resumed] of [
      ['', false],
      ['', true],
      [other, false],
      [other, true],
      ['', true],
    ] as const) {
      const { content } = await http1(t, proxy, met.port, fields);
      t.equal(content, 'over 1.1');
      t.equal(met.handshakes.at(-1)?.resumed, resumed, fields);
    }
    t.equal(met.connections, 5);
  });
}

tap.test(
  'no TLS, an old one, or one that proves nothing: 502, and nothing less is tried',
  async (t) => {
    const leaf = root.issue({ names });
    const secret = new RegExp(`${SECRET}|GET /|HTTP/`);
    const plain = await tcpOrigin((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
    const hangsUp = await tcpOrigin((socket) => socket.once('data', () => socket.destroy()));
    t.teardown(() => {
      plain.close();
      hangsUp.close();
    });
    const tls11 = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ...insecure } as const;
    const older = await origin(t, { ...leaf, ...tls11 });
    const ciphers = 'ADH-AES256-GCM-SHA384:@SECLEVEL=0';
    const anonymous = await origin(t, { ...leaf, maxVersion: 'TLSv1.2', ciphers });
    for (const met of [plain, hangsUp, older, anonymous]) {
      const proxy = await interceptor(t, [met.port], { trusted: [root.pem] });
      for (const [index, asked] of [http1, http2].entries()) {
        const { status, content } = await asked(t, proxy, met.port);
        t.equal(status, 502);
        t.match(content, /SALLYPORT_UPSTREAM_UNREACHABLE/);
        t.match(content, /no TLS with localhost/);
        t.equal(met.connections, index + 1, 'one connection for each request');
      }
      if ('received' in met) t.notMatch(met.received, secret);
      else t.strictSame(met.seen, []);
    }
  },
);
