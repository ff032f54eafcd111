// What a client inside a tunnel can do with frames alone, at a rate: the connection is ended or the
// abuse absorbed, memory stays bounded, and others are served meanwhile. CVE-2023-44487 (rapid
// reset), CVE-2025-8671 (MadeYouReset), CVE-2024-27983 (CONTINUATION), CVE-2019-9511 to 9518.
import type { ClientHttp2Session } from 'node:http2';
import { createServer } from 'node:https';
import tap, { type Test } from 'tap';
import { HTTP2_RESETS_BURST_MAX, HTTP2_STREAMS_MAX, SWEEP_MS } from '../../src/base/limits.ts';
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Flooded,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
  PADDED,
  PING,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  setting,
  uint32,
  WINDOW_UPDATE,
} from '../helpers/frames.ts';
import {
  ask,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';

const { key, cert } = certificate;

/** Attacker, proxy and origin are one process here, so these bound all three. */
const GROWTH_BYTES_MAX = 128 * 1_048_576;
const SLOWEST_MS_MAX = 5_000;
const CANCEL = uint32(8);

type Scene = { readonly client: FrameClient; readonly port: number; readonly paced: boolean };

type Load = { connections: number; requests: number; open: number; openMax: number };

type Attacked = Pick<Scene, 'client' | 'paced'> & {
  readonly flooded: Flooded;
  readonly load: Load;
};

/** Answers /quick, and leaves everybody else without an answer. */
async function holdingOrigin(t: Test): Promise<{ port: number; load: Load }> {
  const load: Load = { connections: 0, requests: 0, open: 0, openMax: 0 };
  const server = createServer({ key, cert }, (request, response) => {
    if (request.url === '/quick') return void response.end('quick');
    load.requests++;
    load.open++;
    load.openMax = Math.max(load.openMax, load.open);
    request.resume();
    request.on('error', () => {});
    response.once('close', () => load.open--);
  });
  server.on('connection', () => load.connections++);
  return { port: await listening(t, server), load };
}

/**
 * Runs an attack twice, as fast as it is taken and in step with the answers; asserts what holds for
 * all of them. In step, nothing is being written when the end comes, so that GOAWAY is seen.
 */
async function under(t: Test, attack: (scene: Scene) => Promise<Flooded>): Promise<Attacked[]> {
  const { port, load } = await holdingOrigin(t);
  const proxy = await interceptor(t, [port]);
  const other = await http2Inside(t, proxy, port);
  const sweeping = setInterval(() => proxy.sweep(SWEEP_MS), SWEEP_MS);
  t.teardown(() => clearInterval(sweeping));
  const attacked: Attacked[] = [];
  for (const paced of [false, true]) {
    const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
    t.teardown(() => client.socket.destroy());
    const scene = { client, port, paced };
    await client.settled();
    const seen = { grown: 0, slowest: 0, served: 0 };
    const flooded = await beside(other, seen, () => attack(scene));
    const { grown, slowest, served } = seen;
    t.ok(grown < GROWTH_BYTES_MAX, `memory grew by ${(grown / 1_048_576).toFixed(1)} MiB`);
    t.ok(slowest < SLOWEST_MS_MAX, `${served} others were served, the slowest in ${slowest} ms`);
    t.comment(`${flooded}, GOAWAY ${client.goaway}, ${client.resets.size} resets`, load);
    attacked.push({ flooded, client, paced, load });
  }
  t.ok(load.connections <= 2 * (HTTP2_STREAMS_MAX + 1), 'as many connections as streams');
  t.ok(load.requests <= 2 * (HTTP2_STREAMS_MAX + HTTP2_RESETS_BURST_MAX), 'few get to the origin');
  t.ok(load.openMax <= 2 * HTTP2_STREAMS_MAX, 'fewer at once');
  return attacked;
}

/** What another connection sees while `work` goes on, and just after. */
async function beside<T>(
  other: ClientHttp2Session,
  seen: { grown: number; slowest: number; served: number },
  work: () => Promise<T>,
): Promise<T> {
  const before = process.memoryUsage().rss;
  let over = false;
  const working = work().finally(() => {
    over = true;
  });
  for (let last = false; !last; ) {
    last = over;
    const start = Date.now();
    const { status, content } = await ask(other, { ':path': '/quick' });
    if (content !== 'quick') throw new Error(`others are not served: ${status} ${content}`);
    seen.served++;
    seen.slowest = Math.max(seen.slowest, Date.now() - start);
    seen.grown = Math.max(seen.grown, process.memoryUsage().rss - before);
  }
  return working;
}

/** It was cut off, and told so if it listened. */
function assertEnded(t: Test, attacked: readonly Attacked[]): void {
  for (const { flooded, client, paced } of attacked) {
    t.equal(flooded, 'ended', 'the connection is ended before all was sent');
    if (paced) t.type(client.goaway, 'number', 'with GOAWAY');
  }
}

type Request = (stream: number, method?: string) => Buffer;

function requestTo(port: number): Request {
  return (stream, method = 'GET') => {
    const flags = END_HEADERS | (method === 'GET' ? END_STREAM : 0);
    return frame(HEADERS, flags, stream, hpack(headOf(port, method)));
  };
}

/** What follows on each of 10,000 streams; the connection must not live to see the last. */
const RESETS: Readonly<
  Record<string, (request: Request, stream: number, port: number) => Buffer[]>
> = {
  'rapid reset': (request, stream) => [request(stream), frame(RST_STREAM, 0, stream, CANCEL)],
  'WINDOW_UPDATE of nothing': (request, stream) => [
    request(stream),
    frame(WINDOW_UPDATE, 0, stream, uint32(0)),
  ],
  'a window that overflows': (request, stream) => [
    request(stream),
    frame(WINDOW_UPDATE, 0, stream, uint32(0x7fffffff)),
  ],
  'DATA behind the end': (request, stream) => [request(stream), frame(DATA, 0, stream, 'x')],
  'HEADERS behind the end': (request, stream) => [request(stream), request(stream)],
  'trailers without an end': (request, stream) => [
    request(stream, 'POST'),
    frame(HEADERS, END_HEADERS, stream, hpack([['x-a', 'b']])),
  ],
  'PRIORITY that is too short': (request, stream) => [request(stream), frame(PRIORITY, 0, stream)],
  'a stream that depends on itself': (request, stream) => [
    request(stream),
    frame(PRIORITY, 0, stream, Buffer.concat([uint32(stream), Buffer.from([1])])),
  ],
  'DATA beyond content-length': (_, stream, port) => [
    frame(HEADERS, END_HEADERS, stream, hpack([...headOf(port, 'POST'), ['content-length', '1']])),
    frame(DATA, 0, stream, 'xx'),
  ],
  'streams beyond those allowed': (request, stream) => [request(stream)],
  'a field list that expands': (_, stream, port) => [
    frame(
      HEADERS,
      END_STREAM | END_HEADERS,
      stream,
      // 4,000 bytes, remembered, and named 2,000 times by one byte each: 8 MB.
      Buffer.concat([
        hpack(headOf(port)),
        hpack([['x', 'y'.repeat(4_000)]], true),
        Buffer.alloc(2_000, 0xbe),
      ]),
    ),
  ],
  'a field list of many': (_, stream, port) => [
    frame(
      HEADERS,
      END_STREAM | END_HEADERS,
      stream,
      hpack([...headOf(port), ...Array.from({ length: 2_000 }, () => ['x', ''] as const)]),
    ),
  ],
};

for (const [name, provoke] of Object.entries(RESETS)) {
  tap.test(`10,000 times ${name}`, async (t) => {
    const attacked = await under(t, ({ client, port, paced }) => {
      const next = (i: number): Buffer => Buffer.concat(provoke(requestTo(port), 2 * i + 1, port));
      return client.flood(10_000, next, paced);
    });
    assertEnded(t, attacked);
    if (name === 'rapid reset') {
      const opened = attacked[0]?.load.connections;
      t.ok(Number(opened) < 5, `what is taken back opens no connection: ${opened}`);
    }
  });
}

type Flood = {
  readonly first?: (port: number) => Buffer;
  readonly each: Buffer;
  readonly times: number;
  /** No other frame may come between, so it is never sent in step. */
  readonly unbroken?: boolean;
  readonly ends: boolean;
};

const openHead = (port: number): Buffer => frame(HEADERS, END_STREAM, 1, hpack(headOf(port)));
const post = (port: number): Buffer => requestTo(port)(1, 'POST');
const priority = Buffer.concat([uint32(0), Buffer.from([1])]);

const FLOODS: Readonly<Record<string, Flood>> = {
  'CONTINUATION without an end': {
    first: openHead,
    each: frame(CONTINUATION, 0, 1, hpack([['x-more', 'x'.repeat(1_000)]])),
    times: 50_000,
    unbroken: true,
    ends: true,
  },
  'empty CONTINUATION': {
    first: openHead,
    each: frame(CONTINUATION, 0, 1),
    times: 100_000,
    unbroken: true,
    ends: true,
  },
  SETTINGS: { each: frame(SETTINGS, 0, 0), times: 100_000, ends: true },
  'SETTINGS of many entries': {
    each: frame(SETTINGS, 0, 0, Buffer.concat(Array.from({ length: 500 }, () => setting(99, 1)))),
    times: 5_000,
    ends: true,
  },
  PING: { each: frame(PING, 0, 0, 'pingpong'), times: 100_000, ends: true },
  'empty DATA': { first: post, each: frame(DATA, 0, 1), times: 200_000, ends: true },
  'padded empty DATA': {
    first: post,
    each: frame(DATA, PADDED, 1, Buffer.concat([Buffer.from([100]), Buffer.alloc(100)])),
    times: 50_000,
    ends: false,
  },
  PRIORITY: { each: frame(PRIORITY, 0, 1, priority), times: 200_000, ends: true },
  'PRIORITY of a stream that is': {
    first: post,
    each: frame(PRIORITY, 0, 1, priority),
    times: 200_000,
    ends: true,
  },
  WINDOW_UPDATE: { each: frame(WINDOW_UPDATE, 0, 0, uint32(1)), times: 200_000, ends: false },
  'frames that nobody knows': { each: frame(0xaa, 0, 0, 'x'), times: 200_000, ends: true },
};

for (const [name, { first, each, times, unbroken, ends }] of Object.entries(FLOODS)) {
  tap.test(`a flood of ${name}`, async (t) => {
    const attacked = await under(t, ({ client, port, paced }) => {
      if (first !== undefined) client.send(first(port));
      return client.flood(times, () => each, paced && !unbroken);
    });
    if (ends) assertEnded(t, attacked);
    else for (const { flooded } of attacked) t.equal(flooded, 'sent', 'it is taken in');
  });
}
