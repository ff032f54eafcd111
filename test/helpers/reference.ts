// What the tests of the reference documents have in common: a daemon with sandboxes that can reach
// origins here under any name, tables cut as scripts cut them, and commands typed at a terminal.
// The documents are cited as `000 §1.4`: their number, and their headings counted by level.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Test } from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import type { Log } from '../../src/cli/policy-log.ts';
import { ControlClient } from '../../src/control/api/client.ts';
import type { CheckResult, SandboxIssue } from '../../src/control/api/schemas.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { type Cli, execute, isolatedCli, type Ran } from './cli.ts';
import { loopbackDns } from './dns.ts';
import { connectTo, httpOrigin, type Origin, say, type Wire, within } from './wire.ts';

export type ReferenceWorld = {
  readonly cli: Cli;
  /** Answers every request with 200 and what it was asked for, under every name. */
  readonly origin: Origin;
  readonly proxyPort: () => number;
  /** `sbx sandbox add`: no rule of the test leads this one to this machine. */
  add(sandbox: string, ...words: string[]): Promise<void>;
  /** Runs a program as `sbx run` does, in the name of a sandbox. */
  inside(sandbox: string, ...words: string[]): Promise<Ran>;
  /** GET http://HOST/ through the proxy; on the origin's port unless one is named. */
  visit(sandbox: string, host: string): Promise<{ status: number; head: string; content: string }>;
  /** CONNECT; the connection is the caller's when the status is 200. */
  tunnel(sandbox: string, authority: string): Promise<{ status: number; client: Wire }>;
  /** Adds a rule, for all sandboxes or for one, without the process of `policy allow|deny`. */
  rule(decision: 'allow' | 'deny', resources: string, sandbox?: string): Promise<void>;
  /** What `policy check network` answers, without its process. */
  check(target: string, more?: object): Promise<CheckResult>;
  /** Whether a runtime that asks before it mounts this path is given leave. */
  mount(sandbox: string, path: string, writable: boolean): Promise<boolean>;
  /** What a runtime asks when a sandbox wants a page opened on the host. @throws the refusal */
  browse(sandbox: string, url: string): Promise<void>;
  /** Whether global rules, or those of this sandbox too, let each of these through. */
  allowed(targets: readonly string[], sandbox?: string): Promise<boolean[]>;
  /** Resolves when the log has every visit, page, and tunnel that was closed. */
  logged(): Promise<void>;
  /** To be called when the daemon was started anew: its port is another one. */
  follow(): Promise<void>;
};

/**
 * One worker, unless the options say otherwise: all but a few sections are about what the daemon says.
 *
 * @param sandboxes  are registered, and may be led to this machine by a name that the policy allows:
 *                   each has a rule for 127.0.0.1, without which the address guard refuses.
 */
export async function referenceWorld(
  t: Test,
  sandboxes: readonly string[],
  ...startOptions: string[]
): Promise<ReferenceWorld> {
  const cli = isolatedCli(t);
  const origin = await httpOrigin(({ headers, url }, response) => {
    response.end(`${headers.host}${url}`);
  });
  t.teardown(() => origin.close());
  const ours = ['--workers', '1', '--dns-server', await loopbackDns(t)];
  let port = await cli.start(...ours, ...startOptions);
  const client = new ControlClient(resolvePaths(cli.env).socket);
  t.teardown(() => client.close());
  const rule: ReferenceWorld['rule'] = async (decision, resources, sandbox) => {
    const scope = sandbox === undefined ? {} : { sandbox };
    await client.post('/policy/network/rules', { decision, resources, ...scope });
  };
  const urlOf = new Map<string, string>();
  for (const name of sandboxes) {
    const { proxy_url } = await client.post<SandboxIssue>('/sandbox', { name });
    urlOf.set(name, proxy_url);
    await rule('allow', '127.0.0.1', name);
  }
  const fieldsOf = (sandbox: string): string => {
    const { username, password } = new URL(urlOf.get(sandbox) ?? '');
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    return `Proxy-Authorization: Basic ${basic}\r\n`;
  };
  const check = (target: string, more: object = {}): Promise<CheckResult> =>
    client.post<CheckResult>('/policy/network/check', { type: 'network', target, ...more });
  let asked = 0;
  const logged = async (): Promise<boolean> => {
    const { blocked_hosts, allowed_hosts } = await client.get<Log>('/network/log');
    const rows = [...blocked_hosts, ...allowed_hosts].filter(({ type }) => type === 'network');
    const counts = rows.map((row) => row.count_since);
    return counts.reduce((sum, count) => sum + count, 0) >= asked;
  };
  return {
    cli,
    origin,
    proxyPort: () => port,
    add: async (name, ...words) => {
      const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', name, '--json', ...words));
      urlOf.set(name, proxy_url);
    },
    inside: (sandbox, ...words) => {
      const { password } = new URL(urlOf.get(sandbox) ?? '');
      const run = ['run', '--quiet', '--sandbox', sandbox, '--', ...words];
      const env = { ...cli.env, SALLYPORT_TOKEN: password };
      return execute(process.execPath, [SBX, ...run], env);
    },
    visit: async (sandbox, host) => {
      asked++;
      const place = /:\d+$/.test(host) ? host : `${host}:${origin.port}`;
      const lines = `GET http://${place}/ HTTP/1.1\r\nHost: ${place}\r\n${fieldsOf(sandbox)}\r\n`;
      const wire = await say(port, lines);
      const response = await wire.response();
      wire.socket.destroy();
      return response;
    },
    tunnel: async (sandbox, authority) => {
      asked++;
      const wire = await say(port, connectTo(authority, fieldsOf(sandbox)));
      const { status } = await wire.response('HEAD');
      if (status !== 200) wire.socket.destroy();
      return { status, client: wire };
    },
    rule,
    check,
    mount: async (sandbox, path, writable) => {
      try {
        await client.post('/policy/filesystem/mount', { path, writable, sandbox_id: sandbox });
        return true;
      } catch (error) {
        if (error instanceof SallyportError && error.code === 'SALLYPORT_MOUNT_DENIED')
          return false;
        throw error;
      }
    },
    browse: async (sandbox, url) => {
      asked++;
      await client.post('/browser-open', { url, sandbox_id: sandbox });
    },
    allowed: (targets, sandbox) =>
      Promise.all(
        targets.map(async (target) => {
          const more = sandbox === undefined ? {} : { sandbox_id: sandbox };
          return (await check(target, more)).allowed;
        }),
      ),
    logged: () =>
      within(
        'the log',
        (async () => {
          while (!(await logged())) await setTimeout(20);
        })(),
      ),
    follow: async () => {
      const { listen } = await client.get<{ listen: string }>('/daemon/status');
      port = Number(listen.split(':').at(-1));
    },
  };
}

/** A row by its headings; a cell has one line or several. */
export type TableRow = Readonly<Record<string, string>>;

/**
 * Cuts a table where its headings begin. Lines that have nothing in the first column belong to the
 * row above; the lines of a cell are joined by one blank.
 *
 * @param text  from the line of headings to the end of the table; empty lines are skipped.
 */
export function cutTable(text: string): { headings: string[]; rows: TableRow[] } {
  const [first = '', ...lines] = text.split('\n').filter((line) => line !== '');
  const headings = first.split(/ {2,}/);
  const starts = headings.map((heading) => first.indexOf(heading));
  const rows: Record<string, string>[] = [];
  for (const line of lines) {
    const cells = headings.map((_, at) => line.slice(starts[at], starts[at + 1]).trim());
    if (cells[0] !== '') rows.push({});
    const row = rows.at(-1) ?? {};
    for (const [at, heading] of headings.entries()) {
      row[heading] = [row[heading], cells[at]].filter(Boolean).join(' ');
    }
  }
  return { headings, rows };
}

/** The two parts of `policy log`, by their titles; a part that is not there is no table. */
export function cutLog(text: string): ReadonlyMap<string, ReturnType<typeof cutTable>> {
  const parts = text.split(/^(?=\w+ requests:\n)/m);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf('\n');
      return [part.slice(0, end), cutTable(part.slice(end + 1))];
    }),
  );
}

export const LOG_HEADINGS = [
  ...['SANDBOX', 'TYPE', 'HOST', 'PROXY'],
  ...['RULE', 'REASON', 'LAST SEEN', 'COUNT'],
];

/** What is typed, each time the screen shows that text. */
export type Typed = readonly [shown: string, keys: string];

/** The program under its drop-in name. */
export const SBX = join(import.meta.dirname, '../../bin/sbx.js');

/**
 * Runs `sbx ARGS` on a terminal of its own, which script(1) of util-linux gives.
 *
 * @returns what the screen showed, without control sequences and carriage returns.
 */
export async function onTerminal(
  cli: Cli,
  typed: readonly Typed[],
  ...args: string[]
): Promise<Ran> {
  const words = [process.execPath, SBX, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qec', words, '/dev/null'], {
    env: { ...cli.env, TERM: 'xterm', SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const left = [...typed];
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    const [next] = left;
    if (next === undefined || !plain(out).includes(next[0])) return;
    left.shift();
    child.stdin.write(next[1]);
  });
  const [code] = await within(`sbx ${args.join(' ')}`, once(child, 'close'));
  child.stdin.destroy();
  return { code, out: plain(out), err: '' };
}

/** ECMA-48: CSI sequences. */
function plain(screen: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they begin with one
  return screen.replace(/\x1b\[[\d;?]*[A-Za-z]/g, '').replaceAll('\r', '');
}
