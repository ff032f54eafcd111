// The client side, in a process of its own: `load.ts KIND PORT ORIGIN_PORT CONNECTIONS SECONDS MODE`.
// Prints one JSON object: operations (or bytes), errors, and latency in microseconds.
import { connect, type Socket } from 'node:net';
import autocannon from 'autocannon';
import { build } from 'hdr-histogram-js';

export type Load = {
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
};

type Asked = {
  readonly port: number;
  readonly originPort: number;
  readonly connections: number;
  readonly seconds: number;
  /** proxy: absolute-form or CONNECT. direct: straight to the port, for a reverse proxy. */
  readonly mode: string;
};

const BULK_MIB_PER_SECOND = 256; // Asked for at once: long enough that the tunnel's beginning does not count.

async function http({ port, originPort, connections, seconds, mode }: Asked): Promise<Load> {
  const host = `127.0.0.1:${originPort}`;
  const path = mode === 'direct' ? '/' : `http://${host}/`;
  const result = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: seconds,
    requests: [{ path, headers: { host } }],
  });
  const { latency, requests } = result;
  return {
    operations: requests.total,
    bytes: 0,
    errors: result.errors + result.non2xx,
    seconds: result.duration,
    p50Us: latency.p50 * 1000,
    p99Us: latency.p99 * 1000,
  };
}

/** A new connection, CONNECT, one small exchange, close: as often as the time allows. */
async function connects(asked: Asked): Promise<Load> {
  const histogram = build({ highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
  const start = performance.now();
  const until = start + asked.seconds * 1000;
  let errors = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < until) {
      const began = performance.now();
      if (await exchange(asked))
        histogram.recordValue(Math.round((performance.now() - began) * 1000));
      else errors++;
    }
  };
  await Promise.all(Array.from({ length: asked.connections }, one));
  return {
    operations: histogram.totalCount,
    bytes: 0,
    errors,
    seconds: (performance.now() - start) / 1000,
    p50Us: histogram.getValueAtPercentile(50),
    p99Us: histogram.getValueAtPercentile(99),
  };
}

function exchange({ port, originPort }: Asked): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let ready = false;
  socket.on('connect', () => socket.write(connectHead(originPort)));
  socket.on('data', (chunk) => {
    if (ready) {
      resolve(true);
      socket.destroy();
    } else if (chunk.includes(' 200 ')) {
      ready = true;
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    } else socket.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', () => resolve(false));
  return promise;
}

/** One long transfer after another until the time is over; at least one. */
async function bulk(asked: Asked, direction: 'down' | 'up'): Promise<Load> {
  const start = performance.now();
  let [bytes, operations] = [0, 0];
  do {
    bytes += await transfer(asked, direction);
    operations++;
  } while (performance.now() - start < asked.seconds * 1000);
  return {
    operations,
    bytes,
    errors: 0,
    seconds: (performance.now() - start) / 1000,
    p50Us: 0,
    p99Us: 0,
  };
}

function transfer(
  { port, originPort, mode, seconds }: Asked,
  direction: 'down' | 'up',
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const mib = Math.ceil(BULK_MIB_PER_SECOND * seconds);
  let ready = mode === 'direct';
  let read = 0;
  const socket: Socket = connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer: Buffer.alloc(1 << 20),
      callback: (count) => {
        if (ready) read += count;
        else begin();
        return true;
      },
    },
  });
  function begin(): void {
    ready = true;
    socket.write(direction === 'down' ? `down ${mib}\n` : 'up \n');
    if (direction === 'up') upload(socket, mib);
  }
  socket.on('connect', () => (ready ? begin() : socket.write(connectHead(originPort))));
  socket.on('error', reject);
  socket.on('close', () => resolve(direction === 'down' ? read : mib * (1 << 20)));
  return promise;
}

function upload(socket: Socket, mib: number): void {
  const chunk = Buffer.alloc(1 << 20, 'b');
  let left = mib;
  const send = (): void => {
    while (left-- > 0) if (!socket.write(chunk)) return void socket.once('drain', send);
    socket.end();
  };
  send();
}

function connectHead(originPort: number): string {
  return `CONNECT 127.0.0.1:${originPort} HTTP/1.1\r\nHost: 127.0.0.1:${originPort}\r\n\r\n`;
}

if (process.argv[1] === import.meta.filename) {
  const [kind = '', port, originPort, connections, seconds, mode = 'proxy'] = process.argv.slice(2);
  const asked: Asked = {
    port: Number(port),
    originPort: Number(originPort),
    connections: Number(connections),
    seconds: Number(seconds),
    mode,
  };
  const work = {
    http,
    connect: connects,
    down: (a: Asked) => bulk(a, 'down'),
    up: (a: Asked) => bulk(a, 'up'),
  }[kind];
  if (work === undefined) throw new Error(`no load of kind ${kind}`);
  process.stdout.write(`${JSON.stringify(await work(asked))}\n`);
  process.exit(0);
}
