// A secret that is replaced or removed: the next request has the new one, or none, on connections that
// were open all the while, of either protocol and in every worker.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { isolatedCli } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { type InsideClient, openInside } from '../helpers/inside.ts';
import { SANDBOX, type Sandboxed, sandboxedWith } from '../helpers/sandboxed.ts';
import {
  json,
  type TokenEndpoint,
  certificate as tokenCertificate,
  tokenEndpoint,
} from '../helpers/token-endpoint.ts';

const CONNECTIONS = 4; // Of each protocol; the kernel spreads them over two workers.
const PROTOCOLS = ['h2', 'http/1.1'] as const;

let world: Sandboxed;
let tokens: TokenEndpoint;
let folder: string;

t.before(async () => {
  folder = temporaryFolder(t);
  tokens = await tokenEndpoint(t);
  const authority = join(folder, 'tokens.pem');
  writeFileSync(authority, tokenCertificate.authority);
  const options = ['--workers', '2', '--upstream-ca', authority];
  world = await sandboxedWith(t, isolatedCli(t), options);
  const reach = `localhost:${tokens.port}`;
  await world.cli.ok('policy', 'allow', 'network', '--sandbox', SANDBOX, reach);
});

async function give(value: string, ...words: string[]): Promise<void> {
  const { code, err } = await world.cli.pipe(value, 'secret', ...words);
  t.equal(code, 0, err);
}

/** Requests on all connections at once. @returns the different values of a field that came to the origin */
async function sent(
  t: Test,
  clients: readonly InsideClient[],
  host: string,
  fields: Record<string, string>,
  name = 'authorization',
): Promise<unknown[]> {
  const before = world.origin.to(host).length;
  const told = await Promise.all(clients.map((client) => client.ask('/', fields)));
  t.ok(
    told.every(({ status }) => status === 200),
    'all are answered',
  );
  t.ok(
    clients.every(({ isOpen }) => isOpen),
    'no connection was dropped',
  );
  const seen = world.origin.to(host).slice(before);
  t.equal(seen.length, clients.length);
  return [...new Set(seen.map(({ headers }) => headers[name]))];
}

async function connections(t: Test, host: string): Promise<InsideClient[]> {
  const { port, handlers } = world.origin;
  if (!handlers.has(host)) handlers.set(host, (_, response) => void response.end('fine'));
  const wanted = PROTOCOLS.flatMap((protocol) =>
    Array.from({ length: CONNECTIONS }, () => ({ host, port, protocol })),
  );
  return Promise.all(wanted.map((one) => openInside(t, world, one)));
}

t.test('a service', async (t) => {
  const host = 'api.github.com';
  await give('first', 'set', 'github');
  const clients = await connections(t, host);
  const own = { authorization: 'Bearer proxy-managed' };
  for (const value of ['first', 'second', 'third']) {
    await give(value, 'set', 'github', '--force');
    t.strictSame(await sent(t, clients, host, own), [`Bearer ${value}`]);
  }
  await world.cli.ok('secret', 'rm', 'github', '--force');
  t.strictSame(await sent(t, clients, host, {}), [undefined]);
  await give('fourth', 'set', 'github');
  t.strictSame(await sent(t, clients, host, {}), ['Bearer fourth'], 'there again');
});

t.test('a custom secret, while answers are under way', async (t) => {
  const host = 'custom.origin.test';
  const places = ['--host', host];
  const placeholder = await world.secret('first', 'CUSTOM', ...places);
  const clients = await connections(t, host);
  const fields = { 'x-key': placeholder };
  t.strictSame(await sent(t, clients, host, fields, 'x-key'), ['first']);
  const ends: (() => void)[] = [];
  const waiting = Promise.withResolvers<void>();
  world.origin.handlers.set('slow.origin.test', (_, response) => {
    response.write('begun ');
    ends.push(() => void response.end('ended'));
    if (ends.length === 2 * CONNECTIONS) waiting.resolve();
  });
  await world.secret('slow', 'SLOW', '--host', 'slow.origin.test');
  const slow = await connections(t, 'slow.origin.test');
  const under = slow.map((client) => client.ask('/'));
  await waiting.promise;

  t.equal(await world.secret('second', 'CUSTOM', ...places, '--force'), placeholder);
  t.strictSame(await sent(t, clients, host, fields, 'x-key'), ['second']);
  await world.cli.ok('secret', 'rm', '--env', 'CUSTOM', '--sandbox', SANDBOX, '--force');
  const refused = await Promise.all(clients.map((client) => client.ask('/', fields)));
  for (const one of refused) t.match(one, { status: 403, text: 'SALLYPORT_CREDENTIAL_MISUSED' });
  t.ok(clients.every(({ isOpen }) => isOpen));
  await world.cli.ok('secret', 'rm', '--env', 'SLOW', '--sandbox', SANDBOX, '--force');
  for (const end of ends) end();
  for (const { status, text } of await Promise.all(under)) {
    t.equal(status, 200);
    t.match(text, /begun ended/, 'an answer goes on to its end');
  }
});

t.test('what a command writes', async (t) => {
  const host = 'command.origin.test';
  const file = (name: string): string => join(folder, name);
  const set = async (name: string, ...words: string[]): Promise<string> => {
    writeFileSync(file(name), name);
    const named = ['--env', 'COMMAND', '--host', host, '--sandbox', SANDBOX, '--json'];
    const out = await world.cli.ok(
      ...['secret', 'set-custom', ...named, '--command', `cat ${file(name)}`],
      ...['--refresh', 'on-demand', ...words],
    );
    return JSON.parse(out).secret.placeholder;
  };
  const fields = { 'x-key': await set('first') };
  const clients = await connections(t, host);
  t.strictSame(await sent(t, clients, host, fields, 'x-key'), ['first']);
  await set('second', '--force');
  t.strictSame(await sent(t, clients, host, fields, 'x-key'), ['second']);
  await world.cli.ok('secret', 'rm', '--env', 'COMMAND', '--sandbox', SANDBOX, '--force');
  t.strictSame(await sent(t, clients, host, fields, 'x-key'), [fields['x-key']]);
});

t.test('a grant', async (t) => {
  const host = 'crm.origin.test';
  tokens.instead = (response, { form }) =>
    json(response, 200, { access_token: `of-${form.refresh_token}`, token_type: 'bearer' });
  const client = ['--token-url', tokens.url, '--client-id', 'app', '--host', host];
  await give('first', 'set-oauth', 'crm', ...client);
  const clients = await connections(t, host);
  t.strictSame(await sent(t, clients, host, {}), ['Bearer of-first']);
  await give('second', 'set-oauth', 'crm', ...client, '--force');
  t.strictSame(await sent(t, clients, host, {}), ['Bearer of-second']);
  await world.cli.ok('secret', 'rm', 'crm', '--force');
  t.strictSame(await sent(t, clients, host, {}), [undefined]);
});

t.test('what a sandbox signed in for', async (t) => {
  const host = 'inside.origin.test';
  const client = ['--token-url', tokens.url, '--host', host];
  await world.cli.ok('secret', 'set-oauth', 'inside', ...client, '--sign-in-inside');
  const at = { host: 'localhost', port: tokens.port, protocol: 'http/1.1' } as const;
  const endpoint = await openInside(t, world, at);
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const signIn = async (token: string): Promise<string> => {
    tokens.instead = (response) =>
      json(response, 200, {
        access_token: token,
        refresh_token: `r-${token}`,
        token_type: 'bearer',
      });
    const { text } = await endpoint.ask('/token', form, 'grant_type=authorization_code&code=c');
    return /"access_token":"([\w-]+)"/.exec(text)?.[1] ?? '';
  };
  const fields = { authorization: `Bearer ${await signIn('first')}` };
  const clients = await connections(t, host);
  t.strictSame(await sent(t, clients, host, fields), ['Bearer first']);
  t.equal(`Bearer ${await signIn('second')}`, fields.authorization);
  t.strictSame(await sent(t, clients, host, fields), ['Bearer second']);
  await world.cli.ok('secret', 'rm', 'inside', '--sandbox', SANDBOX, '--force');
  t.strictSame(await sent(t, clients, host, fields), [fields.authorization]);
  t.ok(endpoint.isOpen);
});

t.test('the login of a registry', async (t) => {
  const { port, handlers } = world.origin;
  const host = 'images.origin.test';
  const realm = `https://auth.origin.test:${port}/token`;
  handlers.set('auth.origin.test', ({ headers }, response) => {
    const login = Buffer.from(headers.authorization?.slice(6) ?? '', 'base64').toString();
    response.end(JSON.stringify({ token: `of-${login.slice(3)}` }));
  });
  handlers.set(host, ({ headers }, response) => {
    const challenge = { 'www-authenticate': `Bearer realm="${realm}",service="x"` };
    response.writeHead(headers.authorization === undefined ? 401 : 200, challenge).end();
  });
  const where = ['--registry', `${host}:${port}`, '--username', 'me', '--password-stdin'];
  const how = ['--registry-auth-endpoint', realm, '--all-sandboxes'];
  await give('first', 'set', ...where, ...how);
  const clients = await connections(t, host);
  const statuses = async (): Promise<unknown[]> => {
    const all = await Promise.all(clients.map((client) => client.ask('/v2/a/manifests/1')));
    t.ok(clients.every(({ isOpen }) => isOpen));
    return [...new Set(all.map(({ status }) => status))];
  };
  const came = () => world.origin.to(host).filter(({ url }) => url !== '/v2/');
  for (const value of ['first', 'second']) {
    await give(value, 'set', ...where, ...how, '--force');
    const before = came().length;
    t.strictSame(await statuses(), [200]);
    const sent = came()
      .slice(before)
      .map(({ headers }) => headers.authorization);
    t.strictSame([...new Set(sent)], [`Bearer of-${value}`]);
  }
  await world.cli.ok('secret', 'rm', '--registry', `${host}:${port}`, '--all-sandboxes', '--force');
  t.strictSame(await statuses(), [401]);
});
