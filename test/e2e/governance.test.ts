// A team governs its fleet: the server and the daemon as processes, by the commands and the API that
// people use; then the same without a server, by files that are signed. src/cli/governance.ts,
// src/governance/sign.ts.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isolatedCli } from '../helpers/cli.ts';
import { callerOf, serveProcess } from '../helpers/governance.ts';
import { policyOf } from '../helpers/organization.ts';

t.test('with a server', { timeout: 120_000 }, async (t) => {
  const cli = isolatedCli(t);
  const data = join(cli.folder, 'governance');
  const token = async (...words: string[]): Promise<string> =>
    (await cli.ok('governance', 'token', ...words, '--data', data)).trim();
  const admin = await token('add', 'ann', '--role', 'admin');
  const { url, child } = await serveProcess(cli.env, '--org', 'my-org', '--data', data);
  t.teardown(() => child.kill('SIGKILL'));
  const tokenFile = join(cli.folder, 'token');
  writeFileSync(tokenFile, await token('add', 'fleet'), { mode: 0o600 });
  t.match(await token('ls'), /^NAME +ROLE +CREATED\nann +admin .*\nfleet +reader /);

  const call = callerOf(url, admin);
  const policy = (await call('POST', '/policies', { name: 'default network' })).body;
  const rules = `/policies/${policy.id}/rules`;
  const tcp = { actions: ['connect:tcp'] };
  const ai = { ...tcp, name: 'allow AI', resources: ['ai.test'], decision: 'allow' };
  const added = (await call('POST', rules, ai)).body;
  const bad = { ...tcp, name: 'no ads', resources: ['**.ads.test'], decision: 'deny' };
  await call('POST', rules, bad);
  await call('PATCH', '/settings', { support_message: 'ask #sandbox-help' });

  const from = ['--governance', url, '--governance-token-file', tokenFile];
  const port = await cli.start('--policy', 'allow-all', '--default-sandbox', 'box', ...from);
  const check = async (target: string): Promise<string> =>
    (await cli.run('policy', 'check', 'network', target)).out;
  t.match(await check('ai.test'), /^Allowed: ai\.test:443\nGovernance: Managed by my-org\n/);
  t.match(await check('x.ads.test'), 'Denied by organization policy');
  t.match(await check('other.test'), 'no matching allow rule');
  const ls = await cli.ok('policy', 'ls');
  t.match(ls, /Managed by my-org\nSync +OK, last synced/);
  t.match(ls, /default network \/ allow AI +network +allow +ai\.test/);

  const words = ['-s', '-x', `http://127.0.0.1:${port}`, 'http://x.ads.test/'];
  const told = execFileSync('curl', words, { encoding: 'utf8' });
  t.match(told, /^Blocked by org policy: domain x\.ads\.test:80\n/);
  t.match(told, '  support: ask #sandbox-help\n');
  t.notMatch(told, /no ads|rule_|pol_|\*\*/);

  const change = { resources: ['ai.test', 'new.test'] };
  t.equal((await call('PATCH', `${rules}/${added.id}`, change)).status, 200);
  t.equal(await cli.ok('policy', 'refresh'), 'Policy of my-org refreshed\n');
  t.match(await check('new.test'), /^Allowed/);

  await token('rm', 'fleet');
  const refused = await cli.run('policy', 'refresh');
  t.match(refused, { code: 1, err: /^ERROR: the server answered 401 \(unauthenticated\)\n/ });
  t.match(await check('new.test'), /^Allowed/, 'what was said last holds');
  child.kill('SIGTERM');
  t.strictSame(await once(child, 'exit'), [0, null]);
  t.match((await cli.run('policy', 'refresh')).err, 'ECONNREFUSED');
  const other = await cli.run('governance', 'serve', '--org', 'other', '--data', data);
  t.match(other, { code: 1, err: /these are the policies of my-org/ });
});

t.test('without a server', { timeout: 120_000 }, async (t) => {
  const cli = isolatedCli(t);
  const folder = join(cli.folder, 'organization');
  mkdirSync(folder);
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { cwd: cli.folder, stdio: 'ignore' });
  };
  openssl('genpkey', '-algorithm', 'ed25519', '-out', 'key.pem');
  openssl('pkey', '-in', 'key.pem', '-pubout', '-out', 'public.pem');
  const [key, publicKey] = [join(cli.folder, 'key.pem'), join(cli.folder, 'public.pem')];
  const document = join(folder, 'governance.json');
  const write = (serial: number, resources: string[]): void => {
    writeFileSync(document, JSON.stringify({ version: 1, organization: 'my-org', serial }));
    const policy = policyOf(1, [{ decision: 'allow', resources }]);
    writeFileSync(join(folder, '10-network.json'), JSON.stringify(policy));
  };
  const sign = () => cli.run('governance', 'sign', folder, '--key', key);
  write(1, ['one.test']);
  t.match(await sign(), {
    code: 0,
    out: `${document}.sig: my-org, serial 1, policies: 1\n`,
  });
  await cli.start('--policy', 'allow-all', '--governance', folder, '--governance-key', publicKey);
  const check = async (target: string): Promise<number | null> =>
    (await cli.run('policy', 'check', 'network', target)).code;
  t.equal(await check('one.test'), 0);
  t.equal(await check('two.test'), 1);

  write(2, ['two.test']);
  t.match((await cli.run('policy', 'refresh')).err, 'is not signed by a key that is trusted here');
  await sign();
  await cli.ok('policy', 'refresh');
  t.equal(await check('two.test'), 0);
  t.equal(await check('one.test'), 1);
  write(1, ['one.test']);
  await sign();
  t.match((await cli.run('policy', 'refresh')).err, 'its serial 1 is older than 2, which was seen');
  t.equal(await check('one.test'), 1);

  write(3, ['0.0.0.0/0']);
  const before = readFileSync(`${document}.sig`, 'utf8');
  t.match(await sign(), { code: 1, err: /a range of all addresses/ });
  t.equal(readFileSync(`${document}.sig`, 'utf8'), before, 'it is not signed');
  t.match(
    (await cli.run('governance', 'sign', folder, '--key', publicKey)).err,
    'no Ed25519 private',
  );

  t.match(await cli.run('daemon', 'restart', '--governance', 'off'), { code: 0 });
  t.equal(await check('one.test'), 0, 'nobody governs any more');
});
