// What a sandbox is told of the proxy and of its secrets. Covers src/control/sandbox-variables.ts too.
import { join } from 'node:path';
import t from 'tap';
import type { SandboxEnvironment } from '../../../src/control/api/routes-environment.ts';
import type { SandboxIssue } from '../../../src/control/api/schemas.ts';
import type { CustomSetAnswer } from '../../../src/control/api/schemas-secret.ts';
import { startWorld, temporaryFolder, type World } from '../../helpers/control.ts';

const ask = ({ client }: World, sandbox?: string): Promise<SandboxEnvironment> =>
  client.get('/environment', { sandbox });

t.test('where each sandbox finds the proxy, and whether it needs a token', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'dev' });
  const { client, instance } = world;
  const shared = `http://${instance.status().listen}`;
  await client.post('/sandbox', { name: 'source', source_address: '192.0.2.7' });
  await client.post('/sandbox', { name: 'unix', unix: join(temporaryFolder(t), 's') });
  const { proxy_url } = await client.post<SandboxIssue>('/sandbox', { name: 'token' });
  t.notMatch(JSON.stringify(await ask(world, 'token')), new URL(proxy_url).password);
  for (const [sandbox, identified_by, url] of [
    ['token', 'token', shared],
    ['source', 'source-address', shared],
    ['unix', 'listener', null],
    ['dev', 'default', shared],
  ] as const) {
    t.match(await ask(world, sandbox), { sandbox, identified_by, proxy_url: url });
  }
  t.match(await ask(world), { sandbox: 'dev' });
  await t.rejects(ask(world, 'nobody'), { code: 'SALLYPORT_NOT_FOUND' });
});

t.test('a sandbox with a listener of its own', async (t) => {
  const world = await startWorld(t);
  const { listen } = world.instance.status();
  await t.rejects(ask(world), { code: 'SALLYPORT_USAGE' }, 'there is no default one');
  const own = listen.replace('127.0.0.1', '127.0.0.2');
  await world.client.post('/sandbox', { name: 'own', listen: own });
  t.match(await ask(world, 'own'), { identified_by: 'listener', proxy_url: `http://${own}` });
});

t.test('placeholders: its own before global ones, the named before the built-in', async (t) => {
  const world = await startWorld(t);
  const { client } = world;
  for (const name of ['box', 'other']) await client.post('/sandbox', { name });
  const value = 'a-value-that-nobody-sees';
  const custom = async (env: string, placeholder: string, sandbox?: string): Promise<string> => {
    const body = { hosts: ['a.test'], env, placeholder, value, sandbox };
    return (await client.post<CustomSetAnswer>('/secrets/custom', body)).secret.placeholder;
  };
  await client.post('/secrets', { service: 'github', value });
  await client.post('/secrets', { service: 'openai', value, sandbox: 'other' });
  await client.post('/secrets', {
    registry: 'ghcr.io',
    username: 'me',
    value,
    all_sandboxes: true,
  });
  await custom('GITHUB_TOKEN', 'of-everybody');
  await custom('KEY', 'global-{rand}');
  const own = await custom('KEY', 'own-{rand}', 'box');

  const box = (await ask(world, 'box')).secrets;
  t.strictSame(box, {
    GH_TOKEN: 'gho_sbxproxymanaged000000000000000000000',
    GITHUB_TOKEN: 'of-everybody',
    KEY: own,
  });
  const other = (await ask(world, 'other')).secrets;
  t.match(other, { OPENAI_API_KEY: 'proxy-managed', KEY: /^global-[0-9a-f]{32}$/ });
  t.notMatch(JSON.stringify([box, other]), value);
});
