// The control API as the CLI sees it: one call, one typed answer or one SallyportError. Knows the
// socket and nothing else of the daemon.
import type { Readable } from 'node:stream';
import { Pool } from 'undici';
import { systemClock } from '../../base/clock.ts';
import { CODES, type Code, SallyportError } from '../../base/errors.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

const CONNECTIONS_MAX = 8;
const NOT_THERE = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'EACCES', 'EPERM']);

/** Told of every call: its status, or the code of what went wrong, and milliseconds. */
export type OnCall = (method: string, path: string, status: number | string, ms: number) => void;

export class ControlClient {
  readonly socketPath: string;
  readonly #client: Pool;
  readonly #onCall: OnCall;

  constructor(socketPath: string, onCall: OnCall = () => {}) {
    this.socketPath = socketPath;
    this.#onCall = onCall;
    this.#client = new Pool('http://localhost', {
      socketPath,
      connections: CONNECTIONS_MAX, // One may be busy following the log.
      headersTimeout: 0, // Draining and a policy of 10^6 rules take as long as they take.
      bodyTimeout: 0,
    });
  }

  /** @throws SALLYPORT_DAEMON_UNREACHABLE, or what the daemon answered. */
  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.#call('GET', pathWith(path, query), undefined);
  }

  post<T>(path: string, body?: unknown): Promise<T> {
    return this.#call('POST', path, body);
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.#call('PUT', path, body);
  }

  delete<T>(path: string, query: Query = {}, body?: unknown): Promise<T> {
    return this.#call('DELETE', pathWith(path, query), body);
  }

  /**
   * JSON lines for as long as the daemon sends them; leaving the loop ends the request.
   *
   * @throws what a line says that is an error, such as SALLYPORT_OVERLOADED for a slow reader.
   */
  async *lines<T>(path: string, query: Query = {}): AsyncGenerator<T, void, undefined> {
    const body = await this.#send('GET', pathWith(path, query), undefined);
    body.setEncoding('utf8');
    let rest = '';
    for await (const piece of body) {
      const lines = `${rest}${String(piece)}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield lineOf(line) as T;
    }
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }

  async #call<T>(method: Method, path: string, body: unknown): Promise<T> {
    const answer = await this.#send(method, path, body);
    return parsed(await textOf(answer)) as T;
  }

  async #send(method: Method, path: string, body: unknown): Promise<Readable> {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const begun = systemClock.monotonicMs();
    const tell = (status: number | string): void =>
      this.#onCall(method, path, status, systemClock.monotonicMs() - begun);
    try {
      const answer = await this.#client.request({
        method,
        path,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
      });
      tell(answer.statusCode);
      if (answer.statusCode < 400) return answer.body;
      throw errorOf(parsed(await textOf(answer.body)), answer.statusCode);
    } catch (error) {
      if (error instanceof SallyportError) throw error;
      tell(errnoOf(error));
      throw unreachable(this.socketPath, error);
    }
  }
}

/** A list is sent as the same name several times. */
export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

function pathWith(path: string, query: Query): string {
  const given = Object.entries(query).flatMap(([name, value]): [string, string][] => {
    if (value === undefined) return [];
    return typeof value === 'object'
      ? value.map((one): [string, string] => [name, one])
      : [[name, String(value)]];
  });
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}

async function textOf(body: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece as Uint8Array));
  return Buffer.concat(pieces).toString();
}

function lineOf(text: string): unknown {
  const line = parsed(text);
  if (typeof line === 'object' && line !== null && 'message' in line) throw errorOf(line, 500);
  return line;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SallyportError('SALLYPORT_INTERNAL', 'the daemon answered with what is no JSON', {
      cause,
    });
  }
}

/** An answer of a later daemon may have a code that this program does not know. */
function errorOf(body: unknown, status: number): SallyportError {
  const { message, code, hint } = (
    typeof body === 'object' && body !== null ? body : {}
  ) as Partial<Record<string, unknown>>;
  const known = typeof code === 'string' && Object.hasOwn(CODES, code);
  return new SallyportError(
    known ? (code as Code) : 'SALLYPORT_INTERNAL',
    typeof message === 'string' ? message : `the daemon answered with status ${status}`,
    known && typeof hint === 'string' ? { hint } : {},
  );
}

function unreachable(socketPath: string, cause: unknown): SallyportError {
  const what = NOT_THERE.has(errnoOf(cause))
    ? 'no daemon listens on'
    : 'the daemon ended the connection on';
  return new SallyportError('SALLYPORT_DAEMON_UNREACHABLE', `${what} ${socketPath}`, { cause });
}

function errnoOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : '';
}
