// The key of a client certificate is in the workers that dial its destination, and in no other.
import { createServer } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { KeyPairs } from '../../src/workers/key-pairs.ts';
import { WorkerPool } from '../../src/workers/pool.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { certificate, listening, tunnel } from '../helpers/intercept.ts';
import { rulesOf } from '../helpers/rules.ts';
import { SERVE_SETTINGS, sandboxRecord } from '../helpers/serve-settings.ts';
import { Wire } from '../helpers/wire.ts';

t.test('asked once, however many wait; not kept', async (t) => {
  const posted: string[] = [];
  const pairs = new KeyPairs((resource) => posted.push(resource));
  const pair = { chain: 'chain', key: 'key' };
  const waiting = Promise.all([pairs.ask('a.test'), pairs.ask('a.test'), pairs.ask('b.test')]);
  t.strictSame(posted, ['a.test', 'b.test']);
  pairs.answer('c.test', pair);
  pairs.answer('b.test', null);
  pairs.answer('a.test', pair);
  t.strictSame(await waiting, [pair, pair, null]);
  void pairs.ask('a.test');
  t.equal(posted.length, 3);
});

t.test('a worker has no key before it dials there', async (t) => {
  const clients = TestAuthority.create('Clients');
  const { cert: chain, key } = clients.issue({ names: 'DNS:agent' });
  const mutual = { ...certificate, requestCert: true, rejectUnauthorized: true, ca: clients.pem };
  const port = await listening(
    t,
    createServer(mutual, (request, response) => {
      response.end((request.socket as TLSSocket).getPeerCertificate().subject.CN);
    }),
  );
  const plain = await listening(
    t,
    createServer(certificate, (_, response) => response.end('anybody')),
  );
  const publisher = await Publisher.create();
  await publisher.publish(rulesOf(['allow', `localhost:${port},localhost:${plain}`]));
  const asked: string[] = [];
  const given = [`localhost:${port}`, `localhost:${plain}`];
  const pool = await WorkerPool.start({
    workers: 2,
    memory: publisher.memory,
    module: publisher.module,
    settings: {
      ...SERVE_SETTINGS,
      upstreamAuthorities: [certificate.authority],
      clientCertificates: given,
    },
    sandboxes: [sandboxRecord()],
    bindings: [],
    clock: systemClock,
    onOutcomes: async () => {},
    onDemand: async () => {},
    onApprove: async () => 'off',
    onKeep: async () => {},
    keyPairOf: (resource) => {
      asked.push(resource);
      return resource === given[0] ? { chain, key } : null;
    },
    onRefused: () => {},
    onLog: () => {},
    onLost: async () => {},
    releaseLane: () => {},
  });
  t.teardown(() => pool.drain(0));
  const inside = async (to: number): Promise<Wire> => {
    const { socket } = await tunnel(t, pool, `localhost:${to}`);
    socket.removeAllListeners('data');
    const ca = SERVE_SETTINGS.authority.certificatePem;
    return new Wire(connect({ socket, servername: 'localhost', ca }));
  };
  const request = (to: number): string => `GET / HTTP/1.1\r\nHost: localhost:${to}\r\n\r\n`;

  const wire = await inside(port);
  wire.send('GET / HTTP/1.1\r\nHost: other.test\r\n\r\n');
  t.equal((await wire.response()).status, 421);
  t.strictSame(asked, [], 'nobody was dialled yet');
  const second = await inside(port);
  second.send(request(port) + request(port));
  t.equal((await second.response()).content, 'DNS-agent');
  t.equal((await second.response()).content, 'DNS-agent');
  t.strictSame(asked, [`localhost:${port}`], 'one of two workers, once');

  const third = await inside(plain);
  third.send(request(plain));
  const { status, content } = await third.response();
  t.equal(status, 502, 'without what it is to be presented, nobody is dialled');
  t.match(content, /SALLYPORT_CREDENTIAL_UNAVAILABLE/);
});
