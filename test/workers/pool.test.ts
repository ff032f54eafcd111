// Real worker threads over the real matcher: they share a port, take new policy and settings while
// they serve, are replaced when they die, and drain. Covers src/workers/serve.ts.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import type { Outcome } from '../../src/proxy/exchange.ts';
import type { SandboxRecord } from '../../src/workers/messages.ts';
import { WorkerPool } from '../../src/workers/pool.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';
import { SERVE_SETTINGS, sandboxRecord } from '../helpers/serve-settings.ts';

const BOX = sandboxRecord();

type World = {
  readonly pool: WorkerPool;
  readonly publisher: Publisher;
  readonly origin: number;
  readonly outcomes: Outcome[];
  readonly lost: { worker: number; interrupted: readonly Outcome[] }[];
  publish(...rules: readonly Written[]): Promise<void>;
  /** Resolves when `count` outcomes are on file. */
  filed(count: number): Promise<void>;
};

async function world(
  t: Test,
  workers: number,
  sandboxes: readonly SandboxRecord[] = [BOX],
): Promise<World> {
  const origin = await startOrigin(t);
  const publisher = await Publisher.create();
  const outcomes: Outcome[] = [];
  const lost: World['lost'] = [];
  let wake = (): void => {};
  const pool = await WorkerPool.start({
    workers,
    memory: publisher.memory,
    module: publisher.module,
    settings: SERVE_SETTINGS,
    sandboxes,
    bindings: [],
    clock: systemClock,
    onOutcomes: async (batch) => {
      outcomes.push(...batch);
      wake();
    },
    onDemand: async () => {},
    onApprove: async () => 'off',
    keyPairOf: () => null,
    onKeep: async () => {},
    onRefused: () => {},
    onLog: () => {},
    onLost: async (worker, interrupted) => {
      outcomes.push(...interrupted);
      lost.push({ worker, interrupted });
      wake();
    },
    releaseLane: (lane) => publisher.releaseLane(lane),
  });
  t.teardown(() => pool.drain(0));
  return {
    pool,
    publisher,
    origin,
    outcomes,
    lost,
    publish: async (...rules) => void (await publisher.publish(rulesOf(...rules))),
    filed: async (count) => {
      while (outcomes.length < count) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
    },
  };
}

async function startOrigin(t: Test): Promise<number> {
  const server: Server = createServer((incoming, response) => {
    if (incoming.url === '/hang') return; // Answered never: the exchange stays open.
    response.end('fine');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** One request through the proxy, on a connection of its own. @returns its status. */
async function ask(port: number, origin: number, path = '/'): Promise<number> {
  const host = `localhost:${origin}`;
  const asked = request({ port, path: `http://${host}${path}`, headers: { host }, agent: false });
  asked.end();
  const [response] = await once(asked, 'response');
  response.resume();
  await once(response, 'end');
  return response.statusCode;
}

t.test('workers share the port and the policy', async (t) => {
  const { pool, origin, publish, outcomes, filed } = await world(t, 2);
  t.equal(await ask(pool.port, origin), 403, 'nothing is published: denied');
  await publish(['allow', `localhost:${origin}`]);
  const statuses = await Promise.all(Array.from({ length: 40 }, () => ask(pool.port, origin)));
  t.ok(
    statuses.every((status) => status === 200),
    'in force in every worker at once',
  );
  await filed(41);
  t.equal(outcomes.length, 41, 'one outcome each');
  t.equal(new Set(outcomes.map(({ generation }) => generation)).size, 2, 'each names its policy');
});

t.test('no request that starts after the change sees the old policy', async (t) => {
  const { pool, origin, publish } = await world(t, 2);
  for (let round = 0; round < 30; round++) {
    const allow = round % 2 === 0;
    await publish([allow ? 'allow' : 'deny', `localhost:${origin}`]);
    const statuses = await Promise.all(Array.from({ length: 6 }, () => ask(pool.port, origin)));
    t.ok(
      statuses.every((status) => status === (allow ? 200 : 403)),
      `round ${round}`,
    );
  }
});

t.test(
  'a worker that dies is replaced, its exchanges recorded, the other undisturbed',
  async (t) => {
    const { pool, origin, publish, lost, outcomes, filed } = await world(t, 2);
    await publish(['allow', `localhost:${origin}`]);
    const hanging = Array.from({ length: 16 }, () => {
      const host = `localhost:${origin}`;
      const asked = request({
        port: pool.port,
        path: `http://${host}/hang`,
        headers: { host },
        agent: false,
      });
      asked.end();
      return once(asked, 'error').then(() => true);
    });
    t.equal(await ask(pool.port, origin), 200);
    await filed(1);
    await pool.terminate(0);
    while (lost.length === 0) await filed(outcomes.length + 1);
    const [one] = lost;
    t.equal(one?.worker, 0);
    t.ok(one !== undefined && one.interrupted.length > 0, 'what it was doing is on file');
    for (const outcome of one?.interrupted ?? []) {
      t.match(outcome, {
        code: 'SALLYPORT_INTERRUPTED',
        host: 'localhost',
        port: origin,
        sandbox: 'box',
      });
    }
    const statuses = await Promise.all(Array.from({ length: 20 }, () => ask(pool.port, origin)));
    t.ok(
      statuses.every((status) => status === 200),
      'the other goes on',
    );
    t.equal(pool.status().restarts, 1);
    await pool.terminate(1);
    t.ok(
      (await Promise.all(hanging)).every(Boolean),
      'every hanging client was told by a closed connection',
    );
  },
);

t.test('listeners of sandboxes come and go with the configuration', async (t) => {
  const path = join(tmpdir(), `sallyport-test-${process.pid}.sock`);
  const { pool, origin, publish } = await world(t, 2);
  await publish(['allow', `localhost:${origin}`]);
  const boxes: SandboxRecord[] = [{ ...BOX, listen: { kind: 'unix', path } }];
  await pool.configure({ ...SERVE_SETTINGS, defaultSandbox: null }, boxes, []);
  t.equal(await ask(pool.port, origin), 407, 'no default sandbox any more');
  const overUnix = async (): Promise<number> => {
    const host = `localhost:${origin}`;
    const asked = request({
      socketPath: path,
      path: `http://${host}/`,
      headers: { host },
      agent: false,
    });
    asked.end();
    const [response] = await once(asked, 'response');
    response.resume();
    return response.statusCode;
  };
  t.equal(await overUnix(), 200, 'its own listener names the sandbox');
  await pool.configure(SERVE_SETTINGS, [BOX], []);
  await t.rejects(overUnix(), 'the listener is gone');
  t.equal(await ask(pool.port, origin), 200);
});

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, 'localhost');
  const stands = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'close').then(() => false),
  ]).catch(() => false);
  socket.on('error', () => {}).destroy();
  return stands;
}

t.test('a listener that two changes at once ask for is opened once', async (t) => {
  const { pool } = await world(t, 1);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  taken.close();
  const boxes = [{ ...BOX, listen: { kind: 'tcp', host: 'localhost', port } }] as const;
  const changes = [1, 2, 3].map(() => pool.configure(SERVE_SETTINGS, boxes, []));
  await Promise.all(changes);
  t.equal(await isListening(port), true);
  await Promise.all([
    pool.configure(SERVE_SETTINGS, boxes, []),
    pool.configure(SERVE_SETTINGS, [BOX], []),
  ]);
  t.equal(await isListening(port), false, 'and closed when nobody wants it any more');
});

t.test('changes that a dying worker did not take are answered by its replacement', async (t) => {
  const { pool, lost } = await world(t, 1);
  const ended = pool.terminate(0);
  const path = join(tmpdir(), `sallyport-test-${process.pid}-late.sock`);
  const later: SandboxRecord[] = [{ ...BOX, listen: { kind: 'unix', path } }];
  await Promise.all([
    pool.configure(SERVE_SETTINGS, [BOX], []),
    pool.configure({ ...SERVE_SETTINGS, via: !SERVE_SETTINGS.via }, [BOX], []),
    pool.configure(SERVE_SETTINGS, later, []),
  ]);
  await ended;
  t.equal(lost.length, 1);
  t.ok(existsSync(path), 'by the last of them');
});

t.test('a listener that cannot be opened is a fault, not a silence', async (t) => {
  const { pool } = await world(t, 1);
  const listen = { kind: 'unix', path: '/nonexistent/folder/x.sock' } as const;
  await t.rejects(pool.configure(SERVE_SETTINGS, [{ ...BOX, listen }], []), {
    code: 'SALLYPORT_CONFLICT',
    message: /^listen E[A-Z]+: .*\/nonexistent\/folder\/x\.sock$/,
  });
});

t.test('drain lets what runs finish and refuses what is new', async (t) => {
  const { pool, origin, publish } = await world(t, 1);
  await publish(['allow', `localhost:${origin}`]);
  const tunnel = connect(pool.port, '127.0.0.1');
  tunnel.write(`CONNECT localhost:${origin} HTTP/1.1\r\nHost: localhost:${origin}\r\n\r\n`);
  await once(tunnel, 'data');
  const drained = pool.drain(30_000);
  tunnel.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const [answer] = await once(tunnel, 'data');
  t.match(String(answer), /^HTTP\/1\.1 200 OK/, 'the open tunnel still works');
  tunnel.end();
  await drained;
  const late = connect(pool.port, '127.0.0.1');
  const [error] = await once(late, 'error');
  t.equal(error.code, 'ECONNREFUSED');
});
