import { globSync, readFileSync, writeFileSync } from 'node:fs';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { join, relative } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import { isolatedCli, type Ran } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { openInside } from '../helpers/inside.ts';
import { listening } from '../helpers/intercept.ts';
import { filesBelow, SANDBOX, type Sandboxed, sandboxedWith } from '../helpers/sandboxed.ts';
import { findSecrets, uniqueValue } from '../helpers/spellings.ts';
import {
  json,
  type TokenEndpoint,
  certificate as tokenCertificate,
  tokenEndpoint,
} from '../helpers/token-endpoint.ts';
import { get, wire } from '../helpers/wire.ts';

/** What a registry takes has none of the signs. */
const uniqueToken = (): string => uniqueValue('token-').replaceAll(/[^\w-]/g, '.');

const SECRETS = {
  service: uniqueValue('ghp_'),
  custom: uniqueValue('custom-'),
  content: uniqueValue('content-'),
  echoed: uniqueValue('echoed-'),
  command: uniqueValue('command-'),
  failing: uniqueValue('failing-'),
  rotated: uniqueValue('rotated-'),
  removed: uniqueValue('removed-'),
  invalid: uniqueValue('invalid-'),
  password: uniqueValue('password-'),
  registryToken: uniqueToken(),
  refresh: uniqueValue('refresh-'),
  nextRefresh: uniqueValue('refresh-'),
  clientSecret: uniqueValue('client-'),
  access: uniqueValue('access-'),
  insideAccess: uniqueValue('access-'),
  insideRefresh: uniqueValue('refresh-'),
  insideId: uniqueValue('id-').replaceAll('.', ''),
  insideCode: uniqueValue('late-'),
};

/** Loaded by the daemon: a worker ends with an error when a file of this name appears. */
const CRASH = (trigger: string): string => `
  import { unlinkSync } from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  import threads from 'node:worker_threads';
  const look = () => {
    try {
      unlinkSync(${JSON.stringify(trigger)});
    } catch {
      return;
    }
    throw new Error('a crash of the tests');
  };
  const { Worker, isMainThread } = threads;
  if (!isMainThread) setInterval(look, 20).unref();
  threads.Worker = class extends Worker {
    constructor(file, options) {
      super(file, { ...options, execArgv: ['--import', import.meta.url] });
    }
  };
  syncBuiltinESMExports();`;

type Stay = {
  readonly world: Sandboxed;
  readonly tokens: TokenEndpoint;
  /** Holds what the host has of its own, outside of the folders of the product. */
  readonly host: string;
  readonly crash: string;
  /** All that the command line has said. */
  readonly said: string[];
  /** All that the sandbox was answered. */
  readonly heard: string[];
  cli(...args: string[]): Promise<Ran>;
  /** With the value on stdin. */
  give(value: string, ...args: string[]): Promise<Ran>;
};

let stay: Stay;

t.before(async () => {
  const host = temporaryFolder(t);
  const crash = join(host, 'crash');
  writeFileSync(join(host, 'crash.mjs'), CRASH(crash));
  const hook = `--import=${pathToFileURL(join(host, 'crash.mjs'))}`;
  const tokens = await tokenEndpoint(t);
  writeFileSync(join(host, 'tokens.pem'), tokenCertificate.authority);
  const certified = TestAuthority.create().issue({ names: 'DNS:agent' });
  writeFileSync(join(host, 'client.pem'), certified.cert + certified.key, { mode: 0o600 });
  Object.assign(SECRETS, { clientKey: certified.key.split('\n')[2] ?? '' }); // The first tells the algorithm.
  const options = [
    '--workers',
    '2',
    '--log-level',
    'debug',
    '--upstream-ca',
    join(host, 'tokens.pem'),
  ];
  const certificates = ['--client-cert', `cert.origin.test=${join(host, 'client.pem')}`];
  const instance = isolatedCli(t, { NODE_OPTIONS: hook });
  const world = await sandboxedWith(t, instance, [...options, ...certificates]);
  Object.assign(SECRETS, { sandboxToken: new URL(world.proxyUrl).password });
  const [said, heard]: [string[], string[]] = [[], []];
  const noted = async (work: Promise<Ran>): Promise<Ran> => {
    const ran = await work;
    said.push(ran.out, ran.err);
    return ran;
  };
  stay = {
    world,
    tokens,
    host,
    crash,
    said,
    heard,
    cli: (...args) => noted(instance.run(...args)),
    give: (value, ...args) => noted(instance.pipe(value, ...args)),
  };
  const reach = `localhost:${tokens.port},*.origin.test`;
  await stay.cli('policy', 'allow', 'network', '--sandbox', SANDBOX, reach);
});

t.test('what is looked for is found, however it is spelled', async (t) => {
  const value = uniqueValue();
  const hex = Buffer.from(value).toString('hex');
  for (const [how, text] of [
    ['as text', `x${value}x`],
    ['as text', value.slice(0, 40)],
    ['as text', encodeURIComponent(value)],
    ['as text', hex.replaceAll(/../g, (byte) => `%${byte}`)],
    ['as text', JSON.stringify({ value })],
    ['as text', hex.replaceAll(/../g, (byte) => `\\u00${byte}`)],
    ['in hex', `0x${hex.toUpperCase()}`],
    ['in base64', Buffer.from(value).toString('base64')],
    ['in base64', Buffer.from(`m:${value}`).toString('base64')],
    ['in base64', `Basic ${Buffer.from(`me:${value}`).toString('base64')}`],
    ['in base64', Buffer.from(`{"auth":"${value}"}`).toString('base64url')],
    ['in base64', encodeURIComponent(Buffer.from(value).toString('base64'))],
  ] as const) {
    t.strictSame(findSecrets(Buffer.from(text), { value }), [`value ${how}`], text);
  }
  t.strictSame(findSecrets(`${value.slice(0, 6)}****${value.slice(-4)}`, { value }), []);
});

/** Stores a custom secret for one host. @returns its placeholder */
async function custom(
  value: string,
  env: string,
  host: string,
  ...words: string[]
): Promise<string> {
  const named = ['--env', env, '--host', host, '--sandbox', SANDBOX, '--json'];
  const { out, code, err } = await stay.give(value, 'secret', 'set-custom', ...named, ...words);
  t.equal(code, 0, err);
  return JSON.parse(out).secret.placeholder;
}

function inside(
  t: Test,
  host: string,
  protocol: 'h2' | 'http/1.1' = 'http/1.1',
  port = stay.world.origin.port,
) {
  return openInside(t, stay.world, { host, port, protocol }, stay.heard);
}

/** Has an origin answer all with `fine`. @returns the fields of the last request that came */
function fine(host: string): () => Record<string, unknown> {
  const { origin } = stay.world;
  origin.handlers.set(host, (_, response) => void response.end('fine'));
  return () => ({ ...origin.to(host).at(-1)?.headers, url: origin.to(host).at(-1)?.url });
}

t.test('in fields, queries and content, over both protocols', async (t) => {
  const placeholder = await custom(SECRETS.custom, 'CUSTOM', 'custom.origin.test');
  const last = fine('custom.origin.test');
  for (const protocol of ['h2', 'http/1.1'] as const) {
    const client = await inside(t, 'custom.origin.test', protocol);
    const basic = Buffer.from(`me:${placeholder}`).toString('base64');
    const fields = { 'x-key': placeholder, authorization: `Basic ${basic}` };
    t.match(await client.ask(`/?key=${placeholder}`, fields), { status: 200, text: /fine/ });
    const coded = Buffer.from(`me:${SECRETS.custom}`).toString('base64');
    t.match(last(), { 'x-key': SECRETS.custom, authorization: `Basic ${coded}` });
    t.equal(last().url, `/?key=${encodeURIComponent(SECRETS.custom)}`);
  }
  const places = ['--in', 'fields,query,content'];
  const another = await custom(SECRETS.content, 'CONTENT', 'content.origin.test', ...places);
  let content = '';
  const gather = async (request: Http2ServerRequest, response: Http2ServerResponse) => {
    content = '';
    for await (const piece of request) content += piece;
    response.end('fine');
  };
  stay.world.origin.handlers.set('content.origin.test', (...both) => void gather(...both));
  const client = await inside(t, 'content.origin.test');
  const type = { 'content-type': 'application/json' };
  t.match(await client.ask('/', type, JSON.stringify({ a: another })), { status: 200 });
  t.strictSame(JSON.parse(content), { a: SECRETS.content });
});

t.test('a service, a command and a client certificate', async (t) => {
  t.match(await stay.give(SECRETS.service, 'secret', 'set', 'github'), { code: 0 });
  const last = fine('api.github.com');
  const client = await inside(t, 'api.github.com', 'h2');
  t.match(await client.ask('/user'), { status: 200 });
  t.equal(last().authorization, `Bearer ${SECRETS.service}`);

  const value = join(stay.host, 'value');
  writeFileSync(value, SECRETS.command);
  const words = [
    '--env',
    'COMMAND',
    '--host',
    'command.origin.test',
    '--sandbox',
    SANDBOX,
    '--json',
  ];
  const command = `sleep 0.3; cat ${value}; cat ${value} >&2`;
  const set = ['secret', 'set-custom', ...words, '--command', command, '--refresh', 'on-demand'];
  const { out, code } = await stay.cli(...set);
  t.equal(code, 0);
  const { placeholder } = JSON.parse(out).secret;
  const sent = fine('command.origin.test');
  const asking = (await inside(t, 'command.origin.test')).ask('/', { 'x-key': placeholder });
  t.strictSame(findSecrets(processes(), SECRETS), [], 'while the command runs');
  t.match(await asking, { status: 200 });
  t.equal(sent()['x-key'], SECRETS.command);

  const certified = fine('cert.origin.test');
  t.match(await (await inside(t, 'cert.origin.test')).ask('/certified'), { status: 200 });
  t.equal(certified().url, '/certified');
});

t.test('a registry, and grants', async (t) => {
  const { origin } = stay.world;
  const { handlers, port } = origin;
  const login = `Basic ${Buffer.from(`me:${SECRETS.password}`).toString('base64')}`;
  handlers.set('auth.origin.test', ({ headers }, response) => {
    if (headers.authorization === login)
      response.end(JSON.stringify({ token: SECRETS.registryToken }));
    else response.writeHead(401).end(`no: ${headers.authorization}`);
  });
  const realm = `https://auth.origin.test:${port}/token`;
  handlers.set('images.origin.test', ({ headers }, response) => {
    if (headers.authorization === `Bearer ${SECRETS.registryToken}`)
      return void response.end('fine');
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="x"` }).end();
  });
  const where = [
    '--registry',
    `images.origin.test:${port}`,
    '--username',
    'me',
    '--password-stdin',
  ];
  const how = ['--registry-auth-endpoint', realm, '--all-sandboxes'];
  t.match(await stay.give(SECRETS.password, 'secret', 'set', ...where, ...how), { code: 0 });
  const registry = await inside(t, 'images.origin.test');
  t.match(await registry.ask('/v2/a/manifests/1'), { status: 200, text: /fine/ });
  const wrong = uniqueValue('wrong-');
  Object.assign(SECRETS, { wrong });
  t.match(await stay.give(wrong, 'secret', 'set', ...where, ...how, '--force'), { code: 0 });
  t.match(await registry.ask('/v2/a/manifests/2'), { status: 502, text: 'REGISTRY_LOGIN_FAILED' });

  stay.tokens.instead = (response, { form }) => {
    if (form.refresh_token !== SECRETS.refresh)
      return json(response, 400, { error: 'invalid_grant', error_description: form.refresh_token });
    const { access, nextRefresh } = SECRETS;
    return json(response, 200, {
      access_token: access,
      refresh_token: nextRefresh,
      token_type: 'bearer',
      expires_in: 3_600,
    });
  };
  const grant = [
    'set-oauth',
    'crm',
    '--token-url',
    stay.tokens.url,
    '--client-id',
    'app',
    '--client-secret',
  ];
  const lines = `${SECRETS.refresh}\n${SECRETS.clientSecret}\n`;
  const set = await stay.give(lines, 'secret', ...grant, '--host', 'crm.origin.test');
  t.equal(set.code, 0, set.err);
  const last = fine('crm.origin.test');
  const client = await inside(t, 'crm.origin.test', 'h2');
  t.match(await client.ask('/'), { status: 200 });
  t.equal(last().authorization, `Bearer ${SECRETS.access}`);
  const bad = uniqueValue('bad-');
  Object.assign(SECRETS, { bad });
  const another = [...grant, '--host', 'crm.origin.test', '--force', '--no-verify'];
  t.match(await stay.give(`${bad}\n${SECRETS.clientSecret}\n`, 'secret', ...another), { code: 0 });
  t.match(await client.ask('/'), { status: 502, text: 'no longer accepts the grant' });
});

t.test('a sandbox that signs in', async (t) => {
  const words = [
    '--token-url',
    stay.tokens.url,
    '--sign-in-inside',
    '--host',
    'inside.origin.test',
  ];
  t.match(await stay.cli('secret', 'set-oauth', 'inside', ...words), { code: 0 });
  const { insideAccess, insideRefresh, insideId, insideCode } = SECRETS;
  const answer = {
    access_token: insideAccess,
    refresh_token: insideRefresh,
    id_token: `eyJh.eyJz.${insideId}`,
    token_type: 'bearer',
  };
  stay.tokens.instead = (response) => json(response, 200, answer);
  const client = await inside(t, 'localhost', 'http/1.1', stay.tokens.port);
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const told = await client.ask('/token', form, 'grant_type=authorization_code&code=c');
  const sentinel = /"access_token":"(proxy-managed-oat-\w+)"/.exec(told.text)?.[1] ?? '';
  const last = fine('inside.origin.test');
  const api = await inside(t, 'inside.origin.test');
  t.match(await api.ask('/', { authorization: `Bearer ${sentinel}` }), { status: 200 });
  t.equal(last().authorization, `Bearer ${insideAccess}`);
  stay.tokens.instead = (response) => response.end(`access_token=${insideCode}`);
  t.match(await client.ask('/token', form, 'code=d'), { status: 502 });
  const elsewhere = await inside(t, 'custom.origin.test');
  t.match(await elsewhere.ask('/', { authorization: `Bearer ${sentinel}` }), { status: 403 });
});

t.test('what is refused, and what is masked', async (t) => {
  const { origin } = stay.world;
  const echoed = await custom(SECRETS.echoed, 'ECHOED', 'echo.origin.test', '--scrub', 'pass');
  origin.handlers.set('echo.origin.test', ({ headers }, response) => {
    const value = String(headers['x-key']);
    response.setHeader('x-echo', encodeURIComponent(value));
    response.end(`${value} ${JSON.stringify(value)} ${Buffer.from(value).toString('base64')}`);
  });
  for (const protocol of ['h2', 'http/1.1'] as const) {
    const client = await inside(t, 'echo.origin.test', protocol);
    t.match(await client.ask('/', { 'x-key': echoed }), { status: 200, text: /\*{10}/ });
    const misused = await client.ask('/', {
      authorization: `Bearer ${'sbx-cs-'}${'0'.repeat(32)}`,
    });
    t.match(misused, { status: 403, text: 'SALLYPORT_CREDENTIAL_MISUSED' });
  }
  const placeholder = await custom(SECRETS.removed, 'REMOVED', 'removed.origin.test');
  const other = await inside(t, 'echo.origin.test');
  t.match(await other.ask(`/?a=${placeholder}`), { status: 403 }, 'elsewhere');
  const { username, password } = new URL(stay.world.proxyUrl);
  const login = `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}\r\n`;
  const plain = await wire(stay.world.proxyPort);
  plain.send(
    get(1, '/', `${login}X-Key: ${placeholder}\r\n`).replaceAll(
      'localhost:1',
      'removed.origin.test:1',
    ),
  );
  const answer = await plain.response();
  plain.socket.destroy();
  stay.heard.push(answer.head + answer.content);
  t.match(answer, { status: 403, content: 'SALLYPORT_CREDENTIAL_PLAINTEXT' });
  const denied = await stay.give(`${SECRETS.invalid}\nmore\n`, 'secret', 'set', 'openai');
  t.equal(denied.code, 1);
  const named = ['--env', 'X', '--host', 'x.origin.test'];
  const itself = `sbx-${SECRETS.invalid}`.replaceAll(/[^\w-]/g, '');
  Object.assign(SECRETS, { itself });
  const words = ['secret', 'set-custom', ...named, '--placeholder', 'aaaaaaaaaaaa'];
  t.match(await stay.give(`${itself}\u0007`, ...words), { code: 1 });
  t.match(await stay.give(SECRETS.removed, 'secret', 'set', 'nobody'), { code: 1 });
  t.match(await stay.give(SECRETS.removed, 'secret', 'set', 'github'), { code: 1 }, 'it is there');
});

/** An origin that answers each request with bytes made of it. */
async function rudeOrigin(
  t: Test,
  answer: (request: string, socket: TLSSocket) => void,
): Promise<number> {
  const server = createTlsServer(
    { ...stay.world.certificate, ALPNProtocols: ['http/1.1'] },
    (socket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes) => answer(bytes.toString('latin1'), socket));
    },
  );
  return listening(t, server);
}

t.test('origins that fail with the secret in their hands', async (t) => {
  const rotated = await custom(SECRETS.rotated, 'ROTATED', 'rude.origin.test');
  const fields = { 'x-key': rotated };
  for (const [what, answer] of [
    ['no field line', (request) => `HTTP/1.1 200 OK\r\n${request}`],
    ['no status line', (request) => `${/x-key.*\r\n/i.exec(request)?.[0]}\r\n`],
    ['no chunk', (request) => `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${request}`],
    ['an end', () => ''],
    ['a part', () => 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart'],
    ['an early field', (request) => `HTTP/1.1 999999 ${request}`],
  ] as const satisfies readonly (readonly [string, (request: string) => string])[]) {
    let came = '';
    const port = await rudeOrigin(t, (request, socket) => {
      came += request;
      socket.end(answer(request), 'latin1');
    });
    for (const protocol of ['http/1.1', 'h2'] as const) {
      came = '';
      const client = await inside(t, 'rude.origin.test', protocol, port);
      const told = await client.ask('/', fields).catch(() => ({ status: 0 }));
      t.not(told.status, 403, what);
      t.ok(came.includes(SECRETS.rotated), `${what}: it had the secret`);
    }
  }
  const gone = await rudeOrigin(t, () => {});
  const other = TestAuthority.create('Another').issue({ names: 'DNS:rude.origin.test' });
  const wrong = createTlsServer(other);
  const wrongPort = await listening(t, wrong);
  const unsure = await inside(t, 'rude.origin.test', 'http/1.1', wrongPort);
  t.match(await unsure.ask('/', fields), { status: 502, text: 'SALLYPORT_UPSTREAM_' });
  const nobody = await inside(t, 'rude.origin.test', 'http/1.1', 1);
  t.match(await nobody.ask('/', fields), { status: 502, text: 'SALLYPORT_UPSTREAM_' });

  const value = join(stay.host, 'failing');
  writeFileSync(value, SECRETS.failing);
  const named = ['--env', 'FAILING', '--host', 'failing.origin.test', '--sandbox', SANDBOX];
  const command = `cat ${value}; cat ${value} >&2; exit 3`;
  const set = ['secret', 'set-custom', ...named, '--command', command, '--refresh', 'on-demand'];
  t.match(await stay.cli(...set), { code: 1, err: /ended with 3/ });
  const { code, out } = await stay.cli(...set, '--no-verify', '--json');
  t.equal(code, 0);
  const { placeholder } = JSON.parse(out).secret;
  const failing = await inside(t, 'failing.origin.test', 'h2');
  t.match(await failing.ask('/', { 'x-key': placeholder }), { status: 502 });

  const hanging = await inside(t, 'rude.origin.test', 'http/1.1', gone);
  const asked = hanging.ask('/', fields).catch((error: Error) => error.message);
  for (let restarts = 0; restarts < 2; ) {
    writeFileSync(stay.crash, '');
    await setTimeout(200);
    ({ restarts } = JSON.parse((await stay.cli('daemon', 'status', '--json')).out));
  }
  t.type(await asked, 'string', 'its worker died');
  const again = await inside(t, 'rude.origin.test', 'http/1.1', wrongPort);
  t.match(await again.ask('/', fields), { status: 502 }, 'the next worker has the secrets');
});

t.test('rotation and removal', async (t) => {
  const again = uniqueValue('again-');
  Object.assign(SECRETS, { again });
  await custom(again, 'CUSTOM', 'custom.origin.test', '--force');
  t.match(await stay.cli('secret', 'rm', '--env', 'REMOVED', '--sandbox', SANDBOX, '--force'), {
    code: 0,
  });
  t.match(await stay.give('secret', 'secret', 'rm', 'nobody', '--force'), { code: 1 });
});

/** What others on this machine may read of every process: its name, arguments, environment, threads. */
function processes(): string {
  const files = globSync(['/proc/[0-9]*/{cmdline,comm,environ}', '/proc/[0-9]*/task/*/comm']);
  return files.map(readable).join('\n');
}

function readable(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // Somebody else's, or gone.
  }
}

/** Where in the product's own folders anything of a secret is. */
function telling(): string[] {
  const { folder } = stay.world.cli;
  return filesBelow(folder).flatMap((path) =>
    [...findSecrets(path, SECRETS), ...findSecrets(readFileSync(path), SECRETS)].map(
      (what) => `${relative(folder, path)}: ${what}`,
    ),
  );
}

t.test('nowhere is any of them', async (t) => {
  const { world, said, heard, cli } = stay;
  const target = 'https://custom.origin.test/';
  const asked = [
    ['secret', 'ls', '--json'],
    ['secret', 'ls'],
    ['policy', 'log'],
    ['policy', 'log', '--json'],
    ['policy', 'ls', '--json'],
    ['policy', 'check', 'network', target, '--verbose', '--sandbox', SANDBOX],
    ['policy', 'check', 'network', 'api.github.com', '--verbose', '--json'],
    ['policy', 'explain', target],
    ['policy', 'lint'],
    ['daemon', 'status'],
    ['daemon', 'status', '--json'],
    ['sandbox', 'ls', '--json'],
    ['env', '--sandbox', SANDBOX, '--rotate'],
    ['ca', 'export'],
  ].map(async (words) => {
    const { code, err, out } = await cli(...words);
    t.equal(err, '', `${words.join(' ')} ${code}`);
    t.ok(out.length > 0);
  });
  await Promise.all(asked); // Each is a process, and takes its time to start.
  const { pid } = JSON.parse((await cli('daemon', 'status', '--json')).out);
  t.match(readable(`/proc/${pid}/cmdline`), 'daemon');
  t.strictSame(findSecrets(processes(), SECRETS), [], 'no process shows it');
  t.strictSame(telling(), [], 'no file, while it runs');
  await cli('daemon', 'restart');
  t.strictSame(telling(), [], 'nor after a restart');
  await cli('daemon', 'stop');
  t.strictSame(telling(), [], 'nor when it has ended');
  t.strictSame(findSecrets(said.join('\n'), SECRETS), [], 'the command line never said it');
  t.strictSame(findSecrets(heard.join('\n'), SECRETS), [], 'no sandbox was told');

  const names = filesBelow(world.cli.folder).map((path) => relative(world.cli.folder, path));
  for (const expected of ['daemon.log', 'policy.db', 'log.db', 'vault.key', /audit-\d+\.jsonl/]) {
    t.ok(
      names.some((name) => name.match(expected)),
      `${expected} was looked through`,
    );
  }
  const log = join(world.cli.folder, names.find((name) => name.endsWith('daemon.log')) ?? '');
  t.match(readable(log), 'a crash of the tests');
  t.ok(heard.length > 30 && said.length > 40);
});
