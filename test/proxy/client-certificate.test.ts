// Client certificates towards origins that ask for one: presented to whom they were given for, on
// connections of their own, and to nobody else.
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import tap, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import type { ClientCertificate } from '../../src/credentials/client-certificate.ts';
import type { Address } from '../../src/policy/address.ts';
import type { Host } from '../../src/policy/host.ts';
import { Permit } from '../../src/proxy/decide.ts';
import { dialSecure, Trust } from '../../src/proxy/secure.ts';
import { Upstreams } from '../../src/proxy/upstreams.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import {
  ask,
  http2Inside,
  interceptor,
  listening,
  certificate as own,
  tlsInside,
  tunnel,
} from '../helpers/intercept.ts';
import { certificatesOf } from '../helpers/proxy.ts';
import { outcomeAt, Wire } from '../helpers/wire.ts';

const clients = TestAuthority.create('Clients');

function client(resource: string, name: string): ClientCertificate {
  const { cert, key } = clients.issue({ names: `DNS:${name}` });
  return { resource, chain: cert, key };
}

/** Answers with the name in the certificate that it was shown, and with how many connections it had. */
async function asking(t: Test, { must = true, names = 'DNS:localhost' } = {}): Promise<number> {
  const { key, cert } = origins.issue({ names });
  const server = createSecureServer({
    key,
    cert,
    allowHTTP1: true,
    requestCert: true,
    rejectUnauthorized: must,
    ca: clients.pem,
  });
  let connections = 0;
  server.on('secureConnection', () => connections++);
  server.on('request', (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    response.end(`${subject?.CN ?? 'nobody'} ${connections} ${request.httpVersion}`);
  });
  server.on('tlsClientError', () => {});
  return listening(t, server as unknown as ReturnType<typeof createServer>);
}

const origins = TestAuthority.create('Origins');

tap.test('presented through the proxy, over either version; told in the audit', async (t) => {
  const { key, cert } = own;
  const server = createSecureServer({
    key,
    cert,
    allowHTTP1: true,
    requestCert: true,
    rejectUnauthorized: true,
    ca: clients.pem,
  });
  server.on('request', (request, response) => {
    response.end(`${(request.socket as TLSSocket).getPeerCertificate().subject.CN}`);
  });
  const port = await listening(t, server as unknown as ReturnType<typeof createServer>);
  const proxy = await interceptor(t, [port], {
    bindings: [],
    clientCertificates: [client(`localhost:${port}`, 'agent')],
  });
  const wire = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  wire.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  t.equal((await wire.response()).content, 'DNS-agent');
  t.match(await outcomeAt(proxy, 0), {
    mode: 'forward',
    injected: `client-certificate:localhost:${port}`,
  });
  const session = await http2Inside(t, proxy, port);
  t.match(await ask(session, { ':path': '/' }), { status: 200, content: 'DNS-agent' });
  wire.socket.destroy();
});

tap.test('without one the origin says no, and the client reads why', async (t) => {
  const { key, cert } = own;
  const mutual = { requestCert: true, rejectUnauthorized: true, ca: clients.pem };
  const server = createSecureServer({ key, cert, allowHTTP1: true, ...mutual }, (_, response) =>
    response.end('never'),
  );
  const port = await listening(t, server as unknown as ReturnType<typeof createServer>);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  const refused = await ask(session, { ':path': '/' });
  t.equal(refused.status, 502);
  t.match(refused.content, /ALERT_CERTIFICATE_REQUIRED/);
  const wire = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  wire.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  const { status, content } = await wire.response();
  t.equal(status, 502);
  t.match(content, /ALERT_CERTIFICATE_REQUIRED/);
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_UPSTREAM_UNREACHABLE' });
});

tap.test('to nobody else, though asked and intercepted', async (t) => {
  const { key, cert } = own;
  const server = createServer(
    { key, cert, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const { subject } = (request.socket as TLSSocket).getPeerCertificate();
      response.end(subject?.CN ?? 'nobody');
    },
  );
  const port = await listening(t, server);
  const clientCertificates = [client(`localhost:${port + 1}`, 'agent'), client('a.test', 'agent')];
  const proxy = await interceptor(t, [port], { clientCertificates });
  const wire = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  wire.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  t.equal((await wire.response()).content, 'nobody');
  t.match(await outcomeAt(proxy, 0), { injected: 'the-binding' });
});

tap.test('a host on the bypass list is relayed blind', async (t) => {
  const port = await asking(t, { must: false });
  const proxy = await interceptor(t, [port], {
    bindings: [],
    clientCertificates: [client('localhost', 'agent')],
    settings: { bypassOf: () => 'localhost' },
  });
  const { socket } = await tunnel(t, proxy, `localhost:${port}`);
  socket.destroy();
  t.match(await outcomeAt(proxy, 0), { mode: 'forward-bypass', injected: null });
});

function permit(host: string, port: number): Permit {
  const target = { host: host as Host, port, method: 'GET', path: '/' };
  const addresses = ['127.0.0.1'] as Address[];
  return new Permit(target, { generation: 1, addresses, poolKey: `1 ${host} ${port}` });
}

const names = 'DNS:a.test,DNS:b.test,DNS:c.test';

for (const http2 of [false, true]) {
  tap.test(`each identity has its connections, http2 ${http2}`, async (t) => {
    const port = await asking(t, { must: false, names });
    const certificates = certificatesOf([client('a.test', 'a'), client('b.test', 'b')]);
    const upstreams = new Upstreams(new Trust(systemClock, [origins.pem], certificates), {
      nowMs: 0,
    });
    t.teardown(() => upstreams.destroy());
    const asked = async (host: string): Promise<string> => {
      const { dispatcher } = await upstreams.secureTowards(permit(host, port), http2);
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      let text = '';
      dispatcher.dispatch(
        { method: 'GET', path: '/', headers: ['host', host] },
        {
          onRequestStart: () => {},
          onResponseStart: () => {},
          onResponseData: (_, chunk) => {
            text += chunk;
          },
          onResponseEnd: () => resolve(text),
          onResponseError: (_, error) => reject(error),
        },
      );
      return promise;
    };
    const version = http2 ? '2.0' : '1.1';
    t.equal(await asked('a.test'), `DNS-a 1 ${version}`);
    t.equal(await asked('b.test'), `DNS-b 2 ${version}`);
    t.equal(await asked('c.test'), `nobody 3 ${version}`);
    await new Promise(setImmediate); // undici waits a turn before it uses a connection again.
    t.equal(await asked('a.test'), `DNS-a 3 ${version}`, 'its own connection again');
  });
}

tap.test('a session is not resumed under another identity', async (t) => {
  const port = await asking(t, { must: false, names });
  const dialled = async (trust: Trust): Promise<boolean> => {
    const socket = await dialSecure(permit('a.test', port), ['http/1.1'], trust);
    socket.write('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    const reused = socket.isSessionReused();
    socket.destroy();
    return reused;
  };
  let resource = 'a.test';
  const certificates = certificatesOf([client('a.test', 'first'), client('*.test', 'second')]);
  certificates.towards = () => resource;
  const trust = new Trust(systemClock, [origins.pem], certificates);
  t.notOk(await dialled(trust));
  t.ok(await dialled(trust));
  resource = '*.test';
  t.notOk(await dialled(trust));
});
