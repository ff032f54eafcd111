// `run`: commands that know nothing of the proxy get through it, trust it, and hold no secret; and
// what is left of them afterwards. Covers src/cli/run.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { linesIn } from '../helpers/audit.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { type Cli, isolatedCli } from '../helpers/cli.ts';
import { listening } from '../helpers/intercept.ts';

const VALUE = 'the-real-token-0123456789';
const PIPED: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
const BIN = join(import.meta.dirname, '../../bin/sallyport.js');

type Row = { readonly host: string; readonly proxy_type: string; readonly reason?: string };

/** No command finds the test's own loopback through NO_PROXY. */
const EVERYTHING = 'NO_PROXY= no_proxy= exec';

async function sandboxes(cli: Cli): Promise<string[]> {
  const { sandboxes: all } = JSON.parse(await cli.ok('sandbox', 'ls', '--json'));
  return all.map(({ name }: { name: string }) => name);
}

/** An origin that answers what it was authorized with. */
function origin(t: Test, authority: TestAuthority): Promise<number> {
  const server = createServer(authority.issue({ names: 'DNS:localhost' }), (request, response) =>
    response.end(`got ${request.headers.authorization}\n`),
  );
  return listening(t, server);
}

t.test('curl and Node: one host intercepted with a credential, one tunnelled', async (t) => {
  const cli = isolatedCli(t);
  const authority = TestAuthority.create('Inner');
  const file = join(cli.folder, 'inner.pem');
  writeFileSync(file, authority.pem);
  const [bound, plain] = [await origin(t, authority), await origin(t, authority)];
  const pinned = await origin(t, authority);
  const options = ['--upstream-ca', file, '--bypass', `localhost:${pinned}`];
  await cli.start('--policy', 'deny-all', ...options);
  const all = [bound, plain, pinned].map((port) => `localhost:${port}`);
  await cli.ok('policy', 'allow', 'network', all.join());
  const custom = ['--host', `localhost:${bound},localhost:${pinned}`, '--env', 'API_TOKEN'];
  await cli.pipe(VALUE, 'secret', 'set-custom', ...custom);

  const fetching = `fetch(process.argv[1], { headers: { authorization: process.env.API_TOKEN } })
    .then((answer) => answer.text()).then(console.log)`;
  const commands = {
    curl: (port: number) => `curl -sS -H "authorization: $API_TOKEN" https://localhost:${port}/`,
    node: (port: number) => `${process.execPath} -e '${fetching}' https://localhost:${port}/`,
  };
  for (const [name, command] of Object.entries(commands)) {
    const ran = await cli.run('run', '--', 'sh', '-c', `${EVERYTHING} ${command(bound)}`);
    t.match(ran, { code: 0, out: `got ${VALUE}\n` }, `${name}: ${ran.err}`);
    t.match(ran.err, /^Nothing is isolated yet/);
    const tunnelled = await cli.run(
      'run',
      '--quiet',
      'sh',
      '-c',
      `${EVERYTHING} ${command(plain)}`,
    );
    t.match(tunnelled.out, /^got sbx-cs-[0-9a-f]{32}\n/, `${name}: ${tunnelled.err}`);
    t.equal(tunnelled.err, '');
  }
  await cli.run('run', '--quiet', 'sh', '-c', `${EVERYTHING} ${commands.curl(pinned)}`);
  const log = await cli.ok('policy', 'log', '--json');
  const ways = JSON.parse(log).allowed_hosts.map(
    ({ host, proxy_type, reason = '' }: Row) => `${host} ${proxy_type} ${reason}`,
  );
  t.strictSame(
    new Set(ways),
    new Set([
      `localhost:${bound} forward `,
      `localhost:${plain} forward-bypass `,
      `localhost:${pinned} forward-bypass on the bypass list: localhost:${pinned}`,
    ]),
  );
  const { audit } = JSON.parse(await cli.ok('daemon', 'status', '--json'));
  const records = linesIn(audit);
  t.match(JSON.parse(records.at(-1) ?? ''), {
    mode: 'forward-bypass',
    host: 'localhost',
    port: pinned,
    bypass: `localhost:${pinned}`,
  });
  const exchanges = records.filter((line) => line.includes('"bypass":'));
  t.equal(exchanges.filter((line) => line.includes('"bypass":null')).length, exchanges.length - 1);
  t.strictSame(await sandboxes(cli), []);
});

t.test('streams, exit codes and environment are those of the command', async (t) => {
  const cli = isolatedCli(t);
  t.match(await cli.run('run', '--', 'true'), { code: 125, err: /sallyport daemon start -d/ });
  await cli.start('--policy', 'deny-all');
  t.strictSame(await cli.pipe('piped\n', 'run', '--quiet', '--', 'cat'), {
    code: 0,
    out: 'piped\n',
    err: '',
  });
  for (const [words, code, err] of [
    [['sh', '-c', 'exit 7'], 7, /^$/],
    [['sh', '-c', 'kill -USR1 $$'], 138, /^$/],
    [['no-such-command'], 127, /^ERROR: no-such-command cannot be run: ENOENT\n$/],
    [['/etc/passwd'], 126, /EACCES/],
    [[], 125, /missing required argument/],
    [['--nope', 'true'], 125, /unknown option/],
    [['--sandbox', 'nobody', 'true'], 125, /sandbox "nobody" not found/],
    [['printf', '%s', '--quiet', '-v'], 0, /^$/],
  ] as const) {
    t.match(await cli.run('run', '--quiet', ...words), { code, err }, words.join(' '));
  }
  t.strictSame(await sandboxes(cli), []);

  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'box', '--json'));
  const env = {
    ...cli.env,
    SALLYPORT_TOKEN: new URL(proxy_url).password,
    JAVA_TOOL_OPTIONS: '-Xmx64m',
    ALL_PROXY: 'http://192.0.2.1:1',
  };
  const print = ['-p', 'JSON.stringify(process.env)'];
  const words = ['run', '--quiet', '--sandbox', 'box', process.execPath, ...print];
  const child = spawn(process.execPath, [BIN, ...words], { env, stdio: PIPED });
  let out = '';
  for await (const text of child.stdout) out += text;
  const seen = JSON.parse(out);
  t.match(seen, {
    HTTP_PROXY: proxy_url,
    ALL_PROXY: proxy_url,
    JAVA_TOOL_OPTIONS: /^-Xmx64m -Dhttp/,
    HOME: cli.env.HOME,
  });
  t.notHas(seen, { SALLYPORT_TOKEN: String });
  t.strictSame(await sandboxes(cli), ['box'], 'one that was there stays');
});

t.test('a signal goes to the command, and the sandbox goes with it', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  const stubborn = `process.on('SIGTERM', () => process.exit(3)); setInterval(() => {}, 1000);
    console.log('begun');`;
  for (const [signal, code] of [
    ['SIGTERM', 3],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const) {
    const words = [BIN, 'run', '--quiet', process.execPath, '-e', stubborn];
    const child = spawn(process.execPath, words, { env: cli.env, stdio: PIPED });
    await once(child.stdout, 'data');
    t.match(await sandboxes(cli), [/^run-[0-9a-f]{12}$/]);
    child.kill(signal);
    t.strictSame(await once(child, 'exit'), [code, null], signal);
    t.strictSame(await sandboxes(cli), []);
  }
});

t.test('a sandbox that cannot be removed is named, and the exit code stands', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  const stop = `"${process.execPath}" "${BIN}" daemon stop --drain-timeout 0s > /dev/null; exit 4`;
  const ran = await cli.run('run', '--quiet', 'sh', '-c', stop);
  t.equal(ran.code, 4);
  t.match(ran.err, /^Sandbox (run-\w+) could not be removed: .*\n.*sandbox rm \1\n$/);
});
