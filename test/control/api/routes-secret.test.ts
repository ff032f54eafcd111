// /secrets over the socket: values go in and never come out. Covers src/control/api/schemas-secret.ts too.
import { once } from 'node:events';
import { chmodSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient } from '../../../src/control/api/client.ts';
import { createFolders, resolvePaths } from '../../../src/control/paths.ts';
import { waitUntilStopped } from '../../../src/control/spawn.ts';
import { startDaemon, startWorld, temporaryEnv, type World } from '../../helpers/control.ts';

const TOKEN = 'ghp_0123456789abcdefghij';

/** @returns the files below a folder that have the text in them. */
function filesWith(folder: string, text: string): string[] {
  return globSync('**', { cwd: folder })
    .map((path) => join(folder, path))
    .filter((path) => statSync(path).isFile() && readFileSync(path).includes(text));
}

/** A body as it is, and the answer as it is. */
async function post({ paths }: World, path: string, body: string): Promise<string> {
  const headers = { host: 'localhost', 'content-type': 'application/json' };
  const asked = request({ socketPath: paths.socket, method: 'POST', path, headers });
  asked.end(body);
  const [answer] = await once(asked, 'response');
  let text = `${answer.statusCode} `;
  for await (const piece of answer.setEncoding('utf8')) text += piece;
  return text;
}

t.test('set, list, remove: what comes out is masked', async (t) => {
  const { client, paths } = await startWorld(t);
  await client.post('/sandbox', { name: 'box' });
  await client.post('/sandbox', { name: 'other' });
  const answers: unknown[] = [];
  const call = async (path: string, body: object): Promise<unknown> => {
    const answer = await client.post(path, body);
    answers.push(answer);
    return answer;
  };
  t.match(await call('/secrets', { service: 'github', value: TOKEN }), {
    secret: { scope: '(global)', type: 'service', name: 'github', secret: '(stored)' },
    replaced: false,
    applied: 2,
  });
  const registry = { registry: 'ghcr.io', username: 'me', value: TOKEN };
  t.match(await call('/secrets', registry), {
    secret: { scope: '(host only)', name: 'ghcr.io', username: 'me', secret: 'ghp_01****ghij' },
    applied: 0,
  });
  const custom = { hosts: ['a.com'], env: 'KEY', value: TOKEN, sandbox: 'box' };
  t.match(await call('/secrets/custom', custom), {
    secret: { scope: 'box', env: 'KEY', placeholder: /^sbx-cs-\w{16,}$/ },
    applied: 1,
  });
  const imported = { secrets: [{ service: 'openai', value: TOKEN }] };
  t.match(await call('/secrets/import', imported), {
    imported: [{ service: 'openai', state: 'imported' }],
    applied: 2,
  });
  const listed = await client.get<{ secrets: object[] }>('/secrets');
  t.match(listed, { secrets: { length: 3 }, custom_secrets: { length: 1 }, shadowed_services: [] });
  t.match(await client.get('/secrets', { sandbox: 'box' }), { secrets: [], custom_secrets: [{}] });
  t.notMatch(JSON.stringify([answers, listed]), TOKEN);
  await t.rejects(client.post('/secrets', { service: 'github', value: 'x' }), {
    code: 'SALLYPORT_CONFLICT',
  });

  t.equal(statSync(paths.vaultKey).mode & 0o777, 0o600);
  t.strictSame(filesWith(dirname(paths.state), TOKEN), [], 'not even in the journal');

  await client.delete('/sandbox/box');
  t.match(await client.get('/secrets'), { custom_secrets: { length: 0 } }, 'they go with it');
  t.match(await client.delete('/secrets', { registry: 'ghcr.io' }), {
    removed: [{ scope: '(host only)', type: 'registry', name: 'ghcr.io' }],
    applied: 0,
  });
  t.match(await client.delete('/secrets', { all: 'true' }), { removed: { length: 2 }, applied: 1 });
  await t.rejects(client.delete('/secrets'), { code: 'SALLYPORT_USAGE' });
});

t.test('a faulty body is answered without a word of it', async (t) => {
  const world = await startWorld(t);
  for (const [path, body, said] of [
    ['/secrets', `{"service":"github","value":"${TOKEN}`, 'JSON'],
    ['/secrets', `${TOKEN}`, 'JSON'],
    ['/secrets', `{"service":"github","value":["${TOKEN}"]}`, 'body.value'],
    ['/secrets', `{"service":"github","value":"${TOKEN}","policy":"never"}`, 'body.policy'],
    ['/secrets', `{"service":1,"value":"${TOKEN}","replace":"${TOKEN}"}`, 'body.replace'],
    ['/secrets', `{"value":"${TOKEN}"}`, 'of a service'],
    ['/secrets', `{"service":"github","username":"me","value":"${TOKEN}"}`, 'of a registry'],
    ['/secrets/custom', `{"env":"KEY","hosts":[],"value":"${TOKEN}"}`, 'body.hosts'],
    ['/secrets/import', `{"secrets":[{"service":"github","values":"${TOKEN}"}]}`, 'secrets.0'],
    ['/secrets/import', `{"secrets":[{"service":"github","value":"${TOKEN}\\n"}]}`, 'github: '],
  ] as const) {
    const answer = await post(world, path, body);
    t.match(answer, /^400 /, body);
    t.ok(answer.includes(said), answer);
    t.notMatch(answer, TOKEN);
  }
  t.match(await world.client.get('/secrets'), { secrets: { length: 0 } });
  t.strictSame(filesWith(dirname(world.paths.state), TOKEN), []);
});

t.test('no answer has a field for a value', async (t) => {
  const { client } = await startWorld(t);
  type Operation = { responses: Record<string, unknown> };
  const { paths } = await client.get<{ paths: Record<string, Record<string, Operation>> }>(
    '/openapi.json',
  );
  const routes = Object.entries(paths).filter(([path]) => path.startsWith('/secrets'));
  t.equal(routes.length, 4);
  for (const [path, operations] of routes) {
    for (const { responses } of Object.values(operations)) {
      t.notMatch(JSON.stringify(responses), /"(value|command)":\{/, path);
    }
  }
});

async function stopDaemon(t: Test, env: ReturnType<typeof temporaryEnv>): Promise<void> {
  const client = new ControlClient(resolvePaths(env).socket);
  await client.post('/daemon/stop', { drain_timeout_ms: 0 });
  await client.close();
  t.ok(waitUntilStopped(resolvePaths(env), 10_000));
}

t.test('a daemon with the key of another starts, and says what it cannot read', async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const keyFile = join(dirname(dirname(paths.state)), 'given.key');
  const given = { ...env, SALLYPORT_KEY_FILE: keyFile };
  await t.rejects(startDaemon(given), {
    code: 'SALLYPORT_VAULT_UNREADABLE',
    message: /given\.key cannot be opened: ENOENT/,
  });
  writeFileSync(keyFile, Buffer.alloc(32, 1), { mode: 0o644 });
  const lax = { code: 'SALLYPORT_VAULT_UNREADABLE', message: /run chmod 600 / };
  await t.rejects(startDaemon(given), lax);
  chmodSync(keyFile, 0o600);
  await startDaemon(given);
  const client = new ControlClient(paths.socket);
  t.teardown(() => client.close());
  await client.post('/secrets', { service: 'github', value: TOKEN });
  await stopDaemon(t, env);
  t.notOk(globSync('*', { cwd: paths.state }).includes('vault.key'), 'none of its own');

  writeFileSync(keyFile, Buffer.alloc(32, 2));
  await startDaemon(given);
  t.match(await client.get('/secrets'), { secrets: [{ secret: '(unreadable)' }] });
  t.match(readFileSync(paths.daemonLog, 'utf8'), /a secret cannot be decrypted/);
  await client.delete('/secrets', { all: 'true' });
  t.match(await client.get('/secrets'), { secrets: { length: 0 } });
  await stopDaemon(t, env);
  t.strictSame(filesWith(dirname(dirname(paths.state)), TOKEN), []);
});

t.test(
  'killed at any moment: every secret is whole, or not there',
  { timeout: 120_000 },
  async (t) => {
    const env = temporaryEnv(t);
    const paths = resolvePaths(env);
    createFolders(paths);
    const acknowledged = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const { pid } = await startDaemon(env);
      const client = new ControlClient(paths.socket);
      const { custom_secrets: there } = await client.get<{
        custom_secrets: { env: string; secret: string }[];
      }>('/secrets');
      const names = new Set(there.map(({ env }) => env));
      t.strictSame(
        [...acknowledged].filter((name) => !names.has(name)),
        [],
        'none is lost',
      );
      t.ok(
        there.every(({ secret }) => secret === 'ghp_01****ghij'),
        'all can be opened',
      );
      let left = 3 + Math.floor(Math.random() * 20);
      try {
        for (let n = 0; ; n++) {
          const name = `KEY_${round}_${n}`;
          await client.post('/secrets/custom', { hosts: ['a.com'], env: name, value: TOKEN });
          acknowledged.add(name);
          if (left-- === 0) setImmediate(() => process.kill(pid, 'SIGKILL'));
        }
      } catch {
        await client.close();
      }
      t.ok(waitUntilStopped(paths, 10_000));
    }
  },
);
