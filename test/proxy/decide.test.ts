// Where an allowed name may lead, on the wire: every answer is judged, and what was judged is what
// is dialled.
import tap, { type Test } from 'tap';
import { parseHost } from '../../src/policy/host.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { decide } from '../../src/proxy/decide.ts';
import type { ProxySettings } from '../../src/proxy/exchange.ts';
import { Recorder } from '../../src/proxy/record.ts';
import { type Ask, Resolver } from '../../src/proxy/resolve.ts';
import { startProxy } from '../helpers/proxy.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';
import { connectTo, type Origin, outcomeAt, tcpOrigin, wire } from '../helpers/wire.ts';

type World = { ask(host: string, ingress?: 'forward' | 'connect'): Promise<number> };
type Options = {
  rules: readonly Written[];
  names?: Record<string, string[]>;
  ask?: Ask;
  settings?: Partial<ProxySettings>;
};

async function origin(t: Test): Promise<Origin> {
  const made = await tcpOrigin((socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  });
  t.teardown(() => made.close());
  return made;
}

async function world(
  t: Test,
  port: number,
  options: Options,
): Promise<World & { proxy: Awaited<ReturnType<typeof startProxy>> }> {
  const proxy = await startProxy(options);
  t.teardown(() => proxy.close());
  const ask = async (host: string, ingress: 'forward' | 'connect' = 'forward'): Promise<number> => {
    const client = await wire(proxy.port);
    const authority = `${host}:${port}`;
    client.send(
      ingress === 'connect'
        ? connectTo(authority)
        : `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
    );
    const { status } = await client.response();
    client.socket.destroy();
    return status;
  };
  return { ask, proxy };
}

const SPECIAL = [
  '127.0.0.1',
  '127.8.9.1',
  '0.0.0.0',
  '10.1.2.3',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '100.100.100.200',
  '169.254.1.1',
  '169.254.169.254',
  '224.0.0.1',
  '255.255.255.255',
  '::1',
  '::',
  'fe80::1',
  'fc00::1',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:10.0.0.1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::1',
  '2001:0:1::1',
];

tap.test('names that lead to special-use addresses', async (t) => {
  const { port } = await origin(t);
  const names = Object.fromEntries(SPECIAL.map((address, i) => [`n${i}.test`, [address]]));
  const { ask, proxy } = await world(t, port, { rules: [['allow', '**,*.test,n1.test']], names });
  for (const [i, address] of SPECIAL.entries()) {
    t.equal(await ask(`n${i}.test`), 403, address);
    t.equal(await ask(`n${i}.test`, 'connect'), 403, `${address} by CONNECT`);
  }
  const last = await outcomeAt(proxy, SPECIAL.length * 2 - 1);
  t.match(last, {
    code: 'SALLYPORT_ADDRESS_FORBIDDEN',
    verdict: 'deny',
    address: null,
    reason: /^resolved-address: /,
  });
});

tap.test('a deny rule on the address names itself in the record', async (t) => {
  const { port } = await origin(t);
  const { ask, proxy } = await world(t, port, {
    rules: [
      ['allow', '**', { id: 'everything' }],
      ['deny', '203.0.113.0/24', { id: 'the-range' }],
    ],
    names: { 'inner.test': ['203.0.113.7'] },
  });
  t.equal(await ask('inner.test'), 403);
  t.match(await outcomeAt(proxy, 0), {
    verdict: 'deny',
    deny_kind: 'explicit',
    rule: 'the-range',
    source: 'local',
    reason: /leads to an address that rule the-range denies/,
  });
});

tap.test('addresses that the client names itself', async (t) => {
  const { port } = await origin(t);
  const { ask } = await world(t, port, { rules: [['allow', '**']] });
  for (const host of [
    '127.0.0.1',
    '10.0.0.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    'localhost',
    'LOCALHOST.',
    'host.docker.internal',
  ]) {
    for (const ingress of ['forward', 'connect'] as const)
      t.equal(await ask(host, ingress), 403, `${host} ${ingress}`);
  }
  for (const host of ['127.1', '0x7f.1', '2130706433', '0177.0.0.1']) {
    const status = await ask(host);
    t.ok(status === 400 || status === 403, `${host}: ${status}`);
  }
});

tap.test('a rule that names the address, a range around it, or localhost', async (t) => {
  const { port } = await origin(t);
  const names = { 'inner.test': ['127.0.0.1'], 'mapped.test': ['::ffff:127.0.0.1'] };
  for (const [rule, hosts] of [
    ['127.0.0.1', ['inner.test', 'mapped.test', '127.0.0.1']],
    ['127.0.0.0/8', ['inner.test', '127.0.0.1']],
    [`localhost:${port}`, ['inner.test', 'localhost', 'host.docker.internal', '127.0.0.1']],
  ] as const) {
    const { ask } = await world(t, port, { rules: [['allow', `**.test,${rule}`]], names });
    for (const host of hosts) t.equal(await ask(host), 200, `${host} by ${rule}`);
  }
});

tap.test("Docker's own looser guard", async (t) => {
  const { port } = await origin(t);
  const { ask } = await world(t, port, {
    rules: [['allow', '**.test']],
    names: { 'inner.test': ['127.0.0.1'], 'cloud.test': ['169.254.169.254'] },
    settings: { addressGuard: 'docker' },
  });
  t.equal(await ask('inner.test'), 200);
  t.equal(await ask('cloud.test'), 403, 'metadata must be named all the same');
});

tap.test('of mixed answers only those that may be are dialled', async (t) => {
  const { port } = await origin(t);
  const { ask, proxy } = await world(t, port, {
    rules: [['allow', '**.test,127.0.0.1']],
    names: { 'mixed.test': ['127.0.0.2', '10.0.0.1', '127.0.0.1', '169.254.169.254'] },
  });
  t.equal(await ask('mixed.test'), 200);
  t.match(await outcomeAt(proxy, 0), { address: '127.0.0.1', status: 200 });
});

tap.test('a deny rule for an address holds for the names that lead there', async (t) => {
  const { port } = await origin(t);
  const { ask, proxy } = await world(t, port, {
    rules: [
      ['allow', '**.test,127.0.0.0/8'],
      ['deny', '127.0.0.1/32'],
    ],
    names: { 'denied.test': ['127.0.0.1'], 'half.test': ['127.0.0.1', '127.0.0.9'] },
  });
  t.equal(await ask('denied.test'), 403);
  t.match(await outcomeAt(proxy, 0), { verdict: 'deny', reason: /r1 denies/ });
  t.equal(await ask('half.test'), 502, 'the other address is tried, and nobody is there');
});

tap.test('the proxy does not dial itself', async (t) => {
  const { port } = await origin(t);
  const { ask } = await world(t, port, {
    rules: [['allow', `**.test,127.0.0.0/8,localhost:${port}`]],
    names: { 'self.test': ['127.0.0.1'], 'mapped.test': ['::ffff:127.0.0.1'] },
    settings: {
      isOwn: (address, own) => own === port && (address === '127.0.0.1' || address === '::1'),
    },
  });
  for (const host of [
    'self.test',
    'mapped.test',
    '127.0.0.1',
    'localhost',
    '[::1]',
    '[::ffff:127.0.0.1]',
  ]) {
    t.equal(await ask(host), 403, host);
  }
});

tap.test('a name that changes its mind', async (t) => {
  const { port } = await origin(t);
  let asked = 0;
  const { ask, proxy } = await world(t, port, {
    rules: [['allow', '**.test,127.0.0.1']],
    // 127.0.0.9 is loopback that no rule names.
    ask: async () => ({ addresses: [asked++ % 2 === 0 ? '127.0.0.1' : '127.0.0.9'], ttlMs: 0 }),
  });
  for (let i = 0; i < 6; i++) {
    const ingress = i % 4 < 2 ? 'forward' : 'connect';
    t.equal(await ask('rebind.test', ingress), i % 2 === 0 ? 200 : 403, `answer ${i}`);
  }
  t.equal(asked, 6, 'each decision asked once, and nobody asked behind it');
  t.match(await outcomeAt(proxy, 1), { status: 403, code: 'SALLYPORT_ADDRESS_FORBIDDEN' });
});

tap.test('what was judged under one policy is judged again under the next', async (t) => {
  let rules = rulesOf(['allow', 'a.test,10.0.0.1']);
  let generation = 1;
  const recorder = new Recorder(
    { wallMs: () => 1, monotonicMs: () => 1 },
    { take: () => 0, name: () => {} },
    () => {},
  );
  const settings: ProxySettings = {
    addressGuard: 'strict',
    via: false,
    forwardedFor: false,
    isOwn: () => false,
    deny: 'connect',
    bypassOf: () => null,
    certificateFor: () => null,
    supportMessage: null,
    approvals: false,
  };
  const deciders = {
    matcher: { match: (question) => referenceMatcher(rules, generation).match(question) },
    resolver: new Resolver({ wallMs: () => 1, monotonicMs: () => 1 }, async () => ({
      addresses: ['10.0.0.1'],
      ttlMs: 10_000,
    })),
    current: { settings },
    vetted: new WeakMap(),
  } satisfies Parameters<typeof decide>[3];
  const target = { host: parseHost('a.test'), port: 80, method: 'GET', path: '/' };
  const ask = async (scope: number) => {
    const entry = await recorder.open('forward', target);
    const permit = await decide({ name: 'box', scope, deny: null }, target, entry, deciders);
    if (permit === null) throw new Error('no permit');
    return permit;
  };
  const first = await ask(1);
  t.same(first.addresses, ['10.0.0.1']);
  t.equal((await ask(1)).addresses, first.addresses, 'the same list, not judged again');
  t.not((await ask(2)).poolKey, first.poolKey, 'sandboxes do not share connections');
  rules = rulesOf(['allow', 'a.test,10.0.0.1'], ['deny', '10.0.0.0/8']);
  generation = 2;
  await t.rejects(ask(1), { code: 'SALLYPORT_ADDRESS_FORBIDDEN' });
});
