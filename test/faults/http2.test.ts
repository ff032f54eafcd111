// What a client inside a tunnel can do with frames alone, at a rate: the connection is ended or the
// abuse absorbed, memory stays bounded, and others are served meanwhile. CVE-2023-44487 (rapid
// reset), CVE-2025-8671 (MadeYouReset), CVE-2024-27983 (CONTINUATION), CVE-2019-9511 to 9518.
import { createServer } from 'node:https';
import tap, { type Test } from 'tap';
import { HTTP2_RESETS_BURST_MAX, HTTP2_STREAMS_MAX } from '../../src/base/limits.ts';
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

/** Attacker, proxy and origin are one process here, so this bounds all three. */
const GROWTH_BYTES_MAX = 64 * 1_048_576;
const CANCEL = uint32(8);

type Scene = {
  readonly t: Test;
  readonly client: FrameClient;
  readonly port: number;
  /** A request of the given stream. */
  readonly request: (stream: number, method?: string, path?: string) => Buffer;
};

type Load = { requests: number; open: number; openMax: number };

/** Answers /quick, and leaves everybody else without an answer. */
async function holdingOrigin(t: Test): Promise<{ port: number; load: Load }> {
  const load: Load = { requests: 0, open: 0, openMax: 0 };
  const server = createServer({ key, cert }, (request, response) => {
    if (request.url === '/quick') return void response.end('quick');
    load.requests++;
    load.open++;
    load.openMax = Math.max(load.openMax, load.open);
    request.resume();
    request.on('error', () => {});
    response.once('close', () => load.open--);
  });
  return { port: await listening(t, server), load };
}

/** Runs an attack; asserts what holds for all of them. */
async function under(
  t: Test,
  attack: (scene: Scene) => Promise<Flooded>,
  settings?: Buffer,
): Promise<{ flooded: Flooded; load: Load; client: FrameClient }> {
  const { port, load } = await holdingOrigin(t);
  const proxy = await interceptor(t, [port]);
  const other = await http2Inside(t, proxy, port);
  t.equal((await ask(other, { ':path': '/quick' })).content, 'quick');
  const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'), settings);
  t.teardown(() => client.socket.destroy());
  const request = (stream: number, method = 'GET', path = '/'): Buffer => {
    const flags = END_HEADERS | (method === 'GET' ? END_STREAM : 0);
    return frame(HEADERS, flags, stream, hpack(headOf(port, method, path)));
  };
  const before = process.memoryUsage().rss;
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 10);
  const attacking = attack({ t, client, port, request });
  let served = 0;
  let flooded: Flooded | null = null;
  void attacking.then((how) => {
    flooded = how;
  });
  do {
    t.equal((await ask(other, { ':path': '/quick' })).status, 200, 'others are served meanwhile');
    served++;
  } while (flooded === null);
  clearInterval(timer);
  const grown = Math.max(peak, process.memoryUsage().rss) - before;
  t.ok(grown < GROWTH_BYTES_MAX, `memory grew by ${(grown / 1_048_576).toFixed(1)} MiB`);
  t.comment(
    `${flooded}, GOAWAY ${client.goaway}, ${served} others served, ${client.resets.size} resets, ` +
      `${load.requests} requests at the origin, ${load.openMax} at once`,
  );
  return { flooded: await attacking, load, client };
}

/** What follows on each of 10,000 streams; the connection must not live to see the last. */
const RESETS: Readonly<Record<string, (scene: Scene, stream: number) => Buffer[]>> = {
  'rapid reset': ({ request }, stream) => [request(stream), frame(RST_STREAM, 0, stream, CANCEL)],
  'WINDOW_UPDATE of nothing': ({ request }, stream) => [
    request(stream),
    frame(WINDOW_UPDATE, 0, stream, uint32(0)),
  ],
  'a window that overflows': ({ request }, stream) => [
    request(stream),
    frame(WINDOW_UPDATE, 0, stream, uint32(0x7fffffff)),
  ],
  'DATA behind the end': ({ request }, stream) => [request(stream), frame(DATA, 0, stream, 'x')],
  'HEADERS behind the end': ({ request }, stream) => [request(stream), request(stream)],
  'trailers without an end': ({ request }, stream) => [
    request(stream, 'POST'),
    frame(HEADERS, END_HEADERS, stream, hpack([['x-a', 'b']])),
  ],
  'PRIORITY that is too short': ({ request }, stream) => [
    request(stream),
    frame(PRIORITY, 0, stream),
  ],
  'a stream that depends on itself': ({ request }, stream) => [
    request(stream),
    frame(PRIORITY, 0, stream, Buffer.concat([uint32(stream), Buffer.from([1])])),
  ],
  'DATA beyond content-length': ({ port }, stream) => [
    frame(HEADERS, END_HEADERS, stream, hpack([...headOf(port, 'POST'), ['content-length', '1']])),
    frame(DATA, 0, stream, 'xx'),
  ],
  'streams beyond those allowed': ({ request }, stream) => [request(stream)],
  'a field list that expands': ({ port }, stream) => [
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
  'a field list of many': ({ port }, stream) => [
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
    const { client, load } = await under(t, (scene) =>
      scene.client.flood(10_000, (i) => Buffer.concat(provoke(scene, 2 * i + 1))),
    );
    t.ok(client.ended, 'the connection is ended');
    t.ok(load.requests <= HTTP2_STREAMS_MAX + HTTP2_RESETS_BURST_MAX);
    t.ok(load.openMax <= HTTP2_STREAMS_MAX + HTTP2_RESETS_BURST_MAX);
  });
}

type Flood = {
  readonly first?: (scene: Scene) => Buffer;
  readonly each: Buffer;
  readonly times: number;
  /** The client reads nothing of what comes back. */
  readonly deaf?: boolean;
  readonly ends: boolean;
};

const openHead = ({ port }: Scene): Buffer => frame(HEADERS, END_STREAM, 1, hpack(headOf(port)));
const post = ({ request }: Scene): Buffer => request(1, 'POST');
const priority = Buffer.concat([uint32(0), Buffer.from([1])]);

const FLOODS: Readonly<Record<string, Flood>> = {
  'CONTINUATION without an end': {
    first: openHead,
    each: frame(CONTINUATION, 0, 1, hpack([['x-more', 'x'.repeat(1_000)]])),
    times: 50_000,
    ends: true,
  },
  'empty CONTINUATION': {
    first: openHead,
    each: frame(CONTINUATION, 0, 1),
    times: 100_000,
    ends: true,
  },
  SETTINGS: { each: frame(SETTINGS, 0, 0), times: 100_000, ends: false },
  'SETTINGS of many entries': {
    each: frame(SETTINGS, 0, 0, Buffer.concat(Array.from({ length: 500 }, () => setting(99, 1)))),
    times: 5_000,
    ends: true,
  },
  'SETTINGS, unread': { each: frame(SETTINGS, 0, 0), times: 1_000_000, deaf: true, ends: true },
  PING: { each: frame(PING, 0, 0, 'pingpong'), times: 100_000, ends: false },
  'PING, unread': { each: frame(PING, 0, 0, 'pingpong'), times: 1_000_000, deaf: true, ends: true },
  'empty DATA': { first: post, each: frame(DATA, 0, 1), times: 200_000, ends: true },
  'padded empty DATA': {
    first: post,
    each: frame(DATA, PADDED, 1, Buffer.concat([Buffer.from([100]), Buffer.alloc(100)])),
    times: 50_000,
    ends: true,
  },
  PRIORITY: { each: frame(PRIORITY, 0, 1, priority), times: 200_000, ends: false },
  'PRIORITY of a stream that is': {
    first: post,
    each: frame(PRIORITY, 0, 1, priority),
    times: 200_000,
    ends: false,
  },
  WINDOW_UPDATE: { each: frame(WINDOW_UPDATE, 0, 0, uint32(1)), times: 200_000, ends: false },
  'frames that nobody knows': { each: frame(0xaa, 0, 0, 'x'), times: 200_000, ends: false },
};

for (const [name, { first, each, times, deaf, ends }] of Object.entries(FLOODS)) {
  tap.test(`a flood of ${name}`, async (t) => {
    const { client, flooded } = await under(t, (scene) => {
      if (first !== undefined) scene.client.send(first(scene));
      if (deaf) scene.client.socket.pause();
      return scene.client.flood(times, () => each);
    });
    if (ends) t.ok(client.ended, 'the connection is ended');
    else if (!client.ended) t.equal(flooded, 'sent', 'it is taken in');
  });
}
