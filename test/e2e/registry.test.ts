// A pull from a private registry as a sandbox does it, with curl in the place of an image client:
// the commands of the operator, the program in the sandbox, the audit.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { recordsIn } from '../helpers/audit.ts';
import { execute, isolatedCli } from '../helpers/cli.ts';
import { certificate } from '../helpers/intercept.ts';
import { LOGIN, PASSWORD, registry, tokenServer } from '../helpers/registry.ts';

t.test('bound, pulled from, told of, and gone at once', async (t) => {
  const cli = isolatedCli(t);
  const tokens = await tokenServer(t);
  const endpoint = `https://localhost:${tokens.port}/token`;
  const images = await registry(t, () => endpoint);
  const upstream = join(cli.folder, 'upstream.pem');
  writeFileSync(upstream, certificate.authority);
  await cli.start('--policy', 'deny-all', '--upstream-ca', upstream);
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'box', '--json'));
  const place = `localhost:${images.port}`;
  await cli.ok('policy', 'allow', 'network', `${place},localhost:${tokens.port}`);
  const ca = join(cli.folder, 'ca.pem');
  writeFileSync(ca, (await cli.run('ca', 'export')).out + certificate.authority);
  const pull = () =>
    execute('curl', ['-isS', '-x', proxy_url, `https://${place}/v2/a/manifests/1`], {
      ...cli.env,
      CURL_CA_BUNDLE: ca,
      no_proxy: '',
    });
  const set = ['secret', 'set', '--registry', place, '--username', 'me', '--password-stdin'];

  t.match(await cli.pipe(PASSWORD, ...set), { code: 0 });
  t.match((await pull()).out, /401 Unauthorized/, 'the host’s alone is not given to sandboxes');
  t.match(await cli.ok('policy', 'check', 'network', place, '--verbose'), 'Intercepted: no');

  const all = ['--registry-auth-endpoint', endpoint, '--all-sandboxes', '--force'];
  t.match(await cli.pipe(PASSWORD, ...set, ...all), { code: 0 });
  const pulled = await pull();
  t.match(pulled.out, /^answer to \/v2\/a\/manifests\/1$/m, pulled.err);
  for (const secret of [PASSWORD, LOGIN.slice(6), 'token-1']) t.notMatch(pulled.out, secret);
  t.match(tokens.seen, [{ authorization: LOGIN }]);
  t.match(
    await cli.ok('policy', 'check', 'network', place, '--verbose'),
    new RegExp(`Intercepted: yes .*\nCredential: ${place} .*login at ${endpoint}`),
  );

  await cli.ok('secret', 'rm', '--registry', place, '--force');
  t.match((await pull()).out, /401 Unauthorized/);
  const { audit } = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  const records = recordsIn(audit);
  const injected = records.filter((record) => record.injected !== null && 'injected' in record);
  t.match(
    injected.map(({ port }) => port),
    [tokens.port, images.port],
  );
  t.notMatch(JSON.stringify(records), PASSWORD);
});
