// Whom a daemon trusts upstream: the authorities of the system and those of --upstream-ca, both; and
// nobody else, whatever its environment says.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import t from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import { execute, isolatedCli } from '../helpers/cli.ts';
import { listening } from '../helpers/intercept.ts';

t.test('the store of the system and what is added to it', async (t) => {
  const environment: Record<string, string> = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };
  const cli = isolatedCli(t, environment);
  const write = (name: string, content: string): string => {
    writeFileSync(join(cli.folder, name), content);
    return join(cli.folder, name);
  };
  const [system, extra, below] = ['System', 'Extra', 'Below'].map((name) =>
    TestAuthority.create(name),
  ) as [TestAuthority, TestAuthority, TestAuthority];
  const stranger = TestAuthority.create('Somebody else');
  // As OpenSSL is told where the store is; workers have no environment, but the same store.
  cli.env.SSL_CERT_FILE = write('system.pem', system.pem);
  cli.env.SSL_CERT_DIR = join(cli.folder, 'empty');
  mkdirSync(cli.env.SSL_CERT_DIR);
  await cli.start(
    ...['--policy', 'deny-all', '--workers', '1'],
    ...['--upstream-ca', write('extra.pem', extra.pem)],
    ...['--upstream-ca', write('below.pem', below.pem)],
  );
  const secret = 'a-secret-of-this-test';
  const set = await cli.pipe(secret, 'secret', 'set-custom', '--host', 'localhost', '--env', 'X');
  t.equal(set.code, 0, set.err);
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'box', '--json'));
  const CURL_CA_BUNDLE = write('ca.pem', (await cli.run('ca', 'export')).out);
  const fetched = async (authority: TestAuthority): Promise<string> => {
    const server = createServer(authority.issue({ names: 'DNS:localhost' }), (_, response) =>
      response.end('fine'),
    );
    const port = await listening(t, server);
    await cli.ok('policy', 'allow', 'network', `localhost:${port}`);
    const env = { ...cli.env, CURL_CA_BUNDLE, no_proxy: '' };
    const write = ['-w', ' %{http_code}'];
    const ran = await execute(
      'curl',
      ['-sS', '-x', proxy_url, ...write, `https://localhost:${port}/`],
      env,
    );
    return ran.out + ran.err;
  };
  for (const authority of [system, extra, below]) t.equal(await fetched(authority), 'fine 200');
  const refused = await fetched(stranger);
  t.match(refused, /SALLYPORT_UPSTREAM_CERTIFICATE[\s\S]* 502$/);
});
