// Who is asking: the listener, the token, the source address, in that order, and nobody else.
import { createHash } from 'node:crypto';
import tap from 'tap';
import { type Credentials, type Origin, Registry } from '../../src/proxy/identify.ts';
import { AUTHORIZATION, startProxy } from '../helpers/proxy.ts';
import { connectTo, get, outcomeAt, say, tcpOrigin } from '../helpers/wire.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;

const RECORDS: Credentials[] = [
  { name: 'one', scope: 1, tokenSha256: sha256('token-1'), sourceAddress: null, deny: null },
  { name: 'two', scope: 2, tokenSha256: sha256('token-2'), sourceAddress: '10.0.0.2', deny: null },
];
const SHARED: Origin = { listener: null, remoteAddress: '127.0.0.1', loopback: true };
const FAR: Origin = { listener: null, remoteAddress: '10.0.0.9', loopback: false };
const registry = new Registry(RECORDS, 'one');
const UNKNOWN = { code: 'SALLYPORT_SANDBOX_UNKNOWN', status: 407 };

tap.test('by token', async (t) => {
  t.match(registry.identify(FAR, basic('two:token-2')), { name: 'two', scope: 2 });
  t.match(registry.identify(FAR, basic('two:token-2').replace('Basic', 'bASIC')), { name: 'two' });
  t.match(registry.identify(SHARED, basic('two:token-2')), { name: 'two' }, 'before the default');
});

tap.test('credentials that are sent must be right', async (t) => {
  const wrong = [
    basic('two:token-1'),
    basic('two:'),
    basic('two'),
    basic(':token-2'),
    basic(':'),
    basic('nobody:token-2'),
    basic('__proto__:token-2'),
    basic('TWO:token-2'),
    basic('two:token-2 '),
    basic(`two:${'x'.repeat(1_000)}`),
    'Basic ???',
    'Basic',
    'Basic ',
    '',
    'Bearer token-2',
    `Basic  ${basic('two:token-2').slice(6)}`,
  ];
  const source = { ...FAR, remoteAddress: '10.0.0.2' };
  for (const authorization of wrong) {
    for (const origin of [FAR, SHARED, source]) {
      t.throws(
        () => registry.identify(origin, authorization),
        UNKNOWN,
        `${authorization} on ${origin.remoteAddress}`,
      );
    }
  }
});

tap.test('a token with a colon, and one of no ASCII', async (t) => {
  const odd = new Registry(
    [
      { name: 'colon', scope: 1, tokenSha256: sha256('a:b:c'), sourceAddress: null, deny: null },
      { name: 'bytes', scope: 2, tokenSha256: sha256('pässwörd'), sourceAddress: null, deny: null },
    ],
    null,
  );
  t.match(odd.identify(FAR, basic('colon:a:b:c')), { name: 'colon' });
  t.match(odd.identify(FAR, basic('bytes:pässwörd')), { name: 'bytes' });
});

tap.test('by source address', async (t) => {
  t.match(registry.identify({ ...FAR, remoteAddress: '10.0.0.2' }, null), { name: 'two' });
  t.throws(() => registry.identify({ ...FAR, remoteAddress: '10.0.0.20' }, null), UNKNOWN);
});

tap.test('by listener, whatever else is said', async (t) => {
  const own: Origin = { listener: 'two', remoteAddress: '', loopback: false };
  t.match(registry.identify(own, null), { name: 'two' });
  t.match(registry.identify(own, basic('one:token-1')), { name: 'two' });
  t.throws(() => registry.identify({ ...own, listener: 'gone' }, basic('one:token-1')), UNKNOWN);
});

tap.test('the default sandbox is for loopback alone, and only when there is one', async (t) => {
  t.match(registry.identify(SHARED, null), { name: 'one' });
  t.throws(() => registry.identify(FAR, null), UNKNOWN);
  t.throws(() => new Registry(RECORDS, null).identify(SHARED, null), UNKNOWN);
  t.throws(() => new Registry(RECORDS, 'gone').identify(SHARED, null), UNKNOWN);
});

tap.test('a name that nobody has takes the same path as a wrong token', async (t) => {
  const times = { known: 0n, unknown: 0n };
  const ask = (authorization: string): bigint => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < 2_000; i++) {
      try {
        registry.identify(FAR, authorization);
      } catch {}
    }
    return process.hrtime.bigint() - start;
  };
  for (let round = 0; round < 5; round++) {
    times.known += ask(basic('two:wrong-1'));
    times.unknown += ask(basic('owt:wrong-1'));
  }
  const ratio = Number(times.known) / Number(times.unknown);
  t.ok(ratio > 0.33 && ratio < 3, `ratio ${ratio}`);
});

tap.test('on the wire', async (t) => {
  const origin = await tcpOrigin((socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  });
  const proxy = await startProxy({ rules: [['allow', `localhost:${origin.port}`]] });
  t.teardown(async () => {
    await proxy.close();
    origin.close();
  });
  const client = await say(
    proxy.port,
    get(origin.port, '/', `Proxy-Authorization: ${AUTHORIZATION}\r\n`),
  );
  t.equal((await client.response()).status, 200);
  t.notMatch(origin.received, /authorization|Ym94/i);
  client.send(get(origin.port, '/', `Proxy-Authorization: ${basic('box:wrong')}\r\n`));
  const { status, content, head } = await client.response();
  t.equal(status, 407, 'not the default sandbox');
  t.match(head, /Proxy-Authenticate: Basic/);
  t.notMatch(content + head, /wrong.*box|Ym94/);
  t.match(await outcomeAt(proxy, 1), { sandbox: '', status: 407, verdict: 'none' });
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200, 'the connection lives on');
  client.send(
    connectTo(`localhost:${origin.port}`, `Proxy-Authorization: ${basic('box:wrong')}\r\n`),
  );
  t.match(await client.toEnd(), /^HTTP\/1\.1 407 /);
  t.equal(origin.connections, 1);
});
