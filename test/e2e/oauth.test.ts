// A sandboxed client that never had a token: what its requests carry at the API, over the life of a
// grant.
import { globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { oauthWorld } from '../helpers/oauth-world.ts';
import { json } from '../helpers/token-endpoint.ts';

t.test('requests carry the access token, and fail when there is none', async (t) => {
  const { world, endpoint, api, seen, ask } = await oauthWorld(t);
  const { client, paths } = world;
  endpoint.rotates = true;
  endpoint.expiresIn = 4; // Renewed after half of it, when a worker asks again.
  const grant = {
    name: 'crm',
    token_url: endpoint.url,
    client_id: 'app',
    refresh_token: 'refresh-0',
    hosts: [`localhost:${api}`],
  };
  await client.post('/secrets/oauth', grant);
  const cookie = { cookie: 'session=another' };
  t.match(await ask(api, '/?access_token=mine', { authorization: 'Bearer own' }), { status: 200 });
  t.match(seen.at(-1), { path: '/?access_token=mine', headers: { authorization: 'Bearer own' } });
  t.match(await ask(api, '/a', cookie), { status: 200, content: 'hello' });
  t.match(seen.at(-1), { headers: { authorization: 'Bearer access-1', cookie: undefined } });
  const sentinel = { authorization: 'Bearer proxy-managed' };
  t.match(await ask(api, '/b?access_token=x', sentinel), { status: 200 });
  t.match(seen.at(-1), { path: '/b', headers: { authorization: 'Bearer access-1' } });

  const until = Date.now() + 30_000;
  while (endpoint.asked.length < 2 && Date.now() < until) {
    await ask(api, '/c', sentinel);
    await setTimeout(100);
  }
  t.match(seen.at(-1), { headers: { authorization: 'Bearer access-2' } }, 'renewed in time');
  t.equal(endpoint.asked.length, 2);

  await client.post('/secrets/oauth', {
    ...grant,
    refresh_token: 'bad',
    replace: true,
    verify: false,
  });
  const requests = seen.length;
  const refused = await ask(api, '/d', sentinel);
  t.equal(refused.status, 502);
  t.match(refused.content, 'no longer accepts the grant (invalid_grant)');
  t.match(refused.content, 'code: SALLYPORT_CREDENTIAL_UNAVAILABLE');
  t.notMatch(refused.content, /LEAKED|refresh-|bad/);
  t.equal(seen.length, requests, 'no sentinel goes out instead');
  t.match(await client.get('/secrets'), { secrets: [{ oauth: { state: 'refused' } }] });

  endpoint.instead = (response) => json(response, 302, {});
  await client.post('/secrets/oauth', { ...grant, replace: true, verify: false });
  t.match(await ask(api, '/e', sentinel), { status: 502, content: /token endpoint answered 302/ });

  const files = globSync('**', { cwd: dirname(paths.state) })
    .map((path) => join(dirname(paths.state), path))
    .filter((path) => statSync(path).isFile());
  const telling = files.filter((path) => /refresh-\d|access-\d/.test(readFileSync(path, 'latin1')));
  t.strictSame(telling, [], 'no token in the database, the audit or a log');
});
