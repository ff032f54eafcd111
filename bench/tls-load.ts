// The client side of interception, in a process of its own: CONNECT, TLS inside, HTTP/1.1 or HTTP/2
// inside that. `tls-load.ts KIND PORT ORIGIN_PORT WIDTH SECONDS PID`; prints one JSON object. It reads the
// CPU and memory of the proxy PID itself, so that opening the connections is not counted as requests.
import { connect } from 'node:net';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { build, type Histogram } from 'hdr-histogram-js';
import { cpuUs, memoryKb } from './process.ts';
import { PLACEHOLDER, SECRET_SEEN } from './tls-credential.ts';
import { Http2Load } from './tls-http2.ts';

/**
 * keepalive: requests of HTTP/1.1 on WIDTH connections. full: connections, each with a handshake of
 * its own and one request, WIDTH at a time. resumed: the same, with the session of the one before. h2,
 * grpc: WIDTH streams at a time on one connection. idle: WIDTH connections that have had one request.
 */
export type TlsLoad = {
  readonly operations: number;
  readonly errors: number;
  /** Of the operations: answers that say that the secret came along. */
  readonly credentialed: number;
  /** Of the operations: those on a resumed session. */
  readonly resumed: number;
  readonly seconds: number;
  /** Of the proxy's processes. */
  readonly cpuUs: number;
  /** What became resident in the proxy meanwhile. */
  readonly grownKb: number;
  readonly p50Us: number;
  readonly p99Us: number;
};

const HOST = 'localhost';
const OPENING_AT_ONCE = 50;
// One group that all peers speak; else some would do post-quantum key exchange and some not.
const GROUP = 'X25519';
const context = createSecureContext({ minVersion: 'TLSv1.3', ecdhCurve: GROUP });

class Load {
  readonly port: number;
  readonly authority: string;
  readonly #pid: number;
  readonly #seconds: number;
  readonly #histogram: Histogram = build({
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
  #errors = 0;
  #credentialed = 0;
  #resumed = 0;
  #untilMs = 0;

  constructor(port: number, originPort: number, seconds: number, pid: number) {
    this.port = port;
    this.authority = `${HOST}:${originPort}`;
    this.#seconds = seconds;
    this.#pid = pid;
  }

  get over(): boolean {
    return performance.now() >= this.#untilMs;
  }

  count(beganMs: number, answer: { ok: boolean; credentialed: boolean; resumed?: boolean }): void {
    if (!answer.ok) {
      this.#errors++;
      return;
    }
    this.#histogram.recordValue(Math.round((performance.now() - beganMs) * 1000));
    if (answer.credentialed) this.#credentialed++;
    if (answer.resumed) this.#resumed++;
  }

  /** Runs what is measured. */
  async measure(work: () => Promise<void>): Promise<TlsLoad> {
    const cpuBefore = cpuUs(this.#pid);
    const memoryBefore = memoryKb(this.#pid, 'VmRSS');
    const startMs = performance.now();
    this.#untilMs = startMs + this.#seconds * 1000;
    await work();
    return {
      operations: this.#histogram.totalCount,
      errors: this.#errors,
      credentialed: this.#credentialed,
      resumed: this.#resumed,
      seconds: (performance.now() - startMs) / 1000,
      cpuUs: cpuUs(this.#pid) - cpuBefore,
      grownKb: memoryKb(this.#pid, 'VmRSS') - memoryBefore,
      p50Us: this.#histogram.getValueAtPercentile(50),
      p99Us: this.#histogram.getValueAtPercentile(99),
    };
  }
}

/** CONNECT and the handshake. @throws whatever breaks either */
function open(
  { port, authority }: Load,
  protocol: 'h2' | 'http/1.1',
  session?: Buffer,
): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () =>
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`),
  );
  socket.once('error', reject);
  socket.once('data', (chunk) => {
    const text = chunk.toString('latin1');
    if (!text.startsWith('HTTP/1.1 200 ') || !text.endsWith('\r\n\r\n')) {
      reject(new Error(`no tunnel: ${text.slice(0, 200)}`));
      socket.destroy();
      return;
    }
    const secure = connectTls({
      socket,
      servername: HOST,
      secureContext: context,
      rejectUnauthorized: false,
      ALPNProtocols: [protocol],
      ...(session && { session }),
    });
    secure.once('error', reject);
    secure.once('close', () => reject(new Error('closed')));
    secure.once('secureConnect', () => {
      secure.on('error', () => {});
      if (protocol === 'h2' && secure.alpnProtocol !== 'h2') reject(new Error('no HTTP/2'));
      else resolve(secure);
    });
  });
  return promise;
}

function requestOf(authority: string): Buffer {
  const fields = `User-Agent: sallyport-bench\r\nAccept: */*\r\nAuthorization: Bearer ${PLACEHOLDER}`;
  return Buffer.from(`GET / HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n\r\n`);
}

type Answer = { readonly ok: boolean; readonly credentialed: boolean };
const FAILED: Answer = { ok: false, credentialed: false };

/** One request after the other on one connection; `next` is called with each answer. */
class Http1Load {
  readonly #socket: TLSSocket;
  readonly #request: Buffer;
  #text = '';
  #resolve: ((answer: Answer) => void) | null = null;

  constructor(socket: TLSSocket, authority: string) {
    this.#socket = socket;
    this.#request = requestOf(authority);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.once('close', () => this.#answer(FAILED));
  }

  send(): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#resolve = resolve;
    if (this.#socket.destroyed) resolve(FAILED);
    else this.#socket.write(this.#request);
    return promise;
  }

  #read(chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
    const end = this.#text.indexOf('\r\n\r\n');
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.#text)?.[1];
    if (end < 0 || this.#text.length < end + 4 + Number(length ?? 0)) return;
    const ok = length !== undefined && this.#text.startsWith('HTTP/1.1 200 ');
    const credentialed = this.#text.includes(SECRET_SEEN, end);
    this.#text = '';
    this.#answer({ ok, credentialed });
  }

  #answer(answer: Answer): void {
    this.#resolve?.(answer);
    this.#resolve = null;
  }
}

function times<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, work));
}

async function keepAlive(load: Load, width: number): Promise<TlsLoad> {
  const clients = await times(width, async () => {
    const client = new Http1Load(await open(load, 'http/1.1'), load.authority);
    await client.send();
    return client;
  });
  return load.measure(async () => {
    await Promise.all(
      clients.map(async (client) => {
        while (!load.over) {
          const beganMs = performance.now();
          const answer = await client.send();
          load.count(beganMs, answer);
          if (!answer.ok) return;
        }
      }),
    );
  });
}

async function connections(load: Load, width: number, resume: boolean): Promise<TlsLoad> {
  const one = async (session?: Buffer): Promise<Buffer | undefined> => {
    const beganMs = performance.now();
    let next = session;
    try {
      const socket = await open(load, 'http/1.1', session);
      socket.on('session', (given) => {
        next = given;
      });
      const answer = await new Http1Load(socket, load.authority).send();
      load.count(beganMs, { ...answer, resumed: socket.isSessionReused() });
      socket.destroy();
    } catch {
      load.count(beganMs, FAILED);
    }
    return next;
  };
  return load.measure(async () => {
    await times(width, async () => {
      let session = resume ? await one() : undefined;
      while (!load.over) {
        const next = await one(session);
        if (resume) session = next;
      }
    });
  });
}

async function streams(load: Load, width: number, kind: 'get' | 'grpc'): Promise<TlsLoad> {
  const socket = await open(load, 'h2');
  const { promise, resolve } = Promise.withResolvers<void>();
  let [running, ended] = [0, 0];
  const client = new Http2Load(socket, load.authority, kind, (answered) => {
    load.count(answered.beganMs, answered);
    ended++;
    // Together what came together, as clients write at the end of a turn.
    if (ended === 1) queueMicrotask(again);
  });
  const again = (): void => {
    const count = ended;
    ended = 0;
    if (!load.over) client.send(count);
    else running -= count;
    if (running === 0) resolve();
  };
  socket.once('close', () => {
    for (; running > 0; running--) load.count(0, FAILED);
    resolve();
  });
  const result = await load.measure(async () => {
    running = width;
    client.send(width);
    await promise;
  });
  socket.destroy();
  return result;
}

async function idle(load: Load, width: number): Promise<TlsLoad> {
  const opened: TLSSocket[] = [];
  const one = async (): Promise<void> => {
    const beganMs = performance.now();
    try {
      const socket = await open(load, 'http/1.1');
      opened.push(socket);
      load.count(beganMs, await new Http1Load(socket, load.authority).send());
    } catch {
      load.count(beganMs, FAILED);
    }
  };
  for (let i = 0; i < OPENING_AT_ONCE; i++) await one(); // What one connection brings along for all.
  return load.measure(async () => {
    for (let left = width; left > 0; left -= OPENING_AT_ONCE) {
      await times(Math.min(left, OPENING_AT_ONCE), one);
    }
  });
}

const [kind = '', ...numbers] = process.argv.slice(2);
const [port = 0, originPort = 0, width = 0, seconds = 0, pid = 0] = numbers.map(Number);
const load = new Load(port, originPort, seconds, pid);
const work: Record<string, () => Promise<TlsLoad>> = {
  keepalive: () => keepAlive(load, width),
  full: () => connections(load, width, false),
  resumed: () => connections(load, width, true),
  h2: () => streams(load, width, 'get'),
  grpc: () => streams(load, width, 'grpc'),
  idle: () => idle(load, width),
};
const asked = work[kind];
if (asked === undefined) throw new Error(`no load of kind ${kind}`);
process.stdout.write(`${JSON.stringify(await asked())}\n`);
process.exit(0);
