// A governance server of ours, in this process or in its own, on a real socket, and a caller of its API.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { Organization } from '../../src/governance/organization.ts';
import { serveGovernance } from '../../src/governance/server.ts';
import { GovernanceStore } from '../../src/governance/store.ts';
import { issueToken } from '../../src/governance/tokens.ts';
import { temporaryFolder } from './control.ts';

export type Reply = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  // biome-ignore lint/suspicious/noExplicitAny: answers of an API, compared as they are.
  readonly body: any;
};

export type Caller = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Reply>;

/** @param url  of an organisation. @returns what calls below its `/governance` */
export function callerOf(url: string, token: string): Caller {
  return async (method, path, body, headers = {}) => {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const type = content === undefined ? {} : { 'content-type': 'application/json' };
    const authorization = `Bearer ${token}`;
    const asked = request(path.startsWith('/') ? `${url}/governance${path}` : path, {
      method,
      agent: false,
      headers: { authorization, ...type, ...headers },
    });
    asked.end(content);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    let text = '';
    for await (const piece of answer.setEncoding('utf8')) text += String(piece);
    const { statusCode: status = 0 } = answer;
    return { status, headers: answer.headers, body: text === '' ? null : JSON.parse(text) };
  };
}

export type Governing = {
  readonly url: string;
  readonly path: string;
  readonly store: GovernanceStore;
  readonly admin: Caller;
  readonly reader: Caller;
  readonly tokens: { readonly admin: string; readonly reader: string };
};

export async function startGovernance(t: Pick<Test, 'teardown'>): Promise<Governing> {
  const path = join(temporaryFolder(t), 'governance.db');
  const store = GovernanceStore.open(path);
  const organization = new Organization('my-org', store, systemClock);
  const { url, close } = await serveGovernance(organization, store, {
    host: '127.0.0.1',
    port: 0,
    tls: null,
    version: '0.0.0-test',
    report: (error) => process.stderr.write(`${error}\n`),
  });
  t.teardown(async () => {
    await close();
    store.close();
  });
  const tokens = {
    admin: issueToken(store, 'ann', 'admin', systemClock),
    reader: issueToken(store, 'fleet', 'reader', systemClock),
  };
  const [admin, reader] = [callerOf(url, tokens.admin), callerOf(url, tokens.reader)];
  return { url, path, store, admin, reader, tokens };
}

const BIN = join(import.meta.dirname, '../../bin/sallyport.js');

export type ServingProcess = {
  /** Of the organisation. */
  readonly url: string;
  readonly child: ChildProcess;
};

/** `governance serve` in a process of its own. @returns when it accepts connections */
export async function serveProcess(
  env: Readonly<Record<string, string>>,
  ...options: string[]
): Promise<ServingProcess> {
  const words = ['governance', 'serve', '--listen', '127.0.0.1:0', ...options];
  const child = spawn(process.execPath, [BIN, ...words], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  for await (const piece of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    out += String(piece);
    const url = /^Governance of \S+ at (\S+)\n/.exec(out)?.[1];
    if (url === undefined) continue;
    child.stdout.resume();
    return { url, child };
  }
  throw new Error(`the server ended by itself: ${out}`);
}
