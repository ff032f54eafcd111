// `env` as it is typed, and what it says when something is missing. Covers src/cli/environment.ts too.
import { join } from 'node:path';
import t from 'tap';
import { resolvePaths } from '../../src/control/paths.ts';
import { startWorld, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

const custom = ['secret', 'set-custom', '--host', 'a.test', '--placeholder', 'placeholder-1'];

t.test('the three forms say the same', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'dev' });
  await say(world, [...custom, '--env', 'KEY'], null, { piped: 'value' });
  const json = await say(world, ['env', '--json']);
  t.strictSame([json.code, json.err], [0, '']);
  const { listen } = world.instance.status();
  const found = JSON.parse(json.out);
  t.match(found, {
    HTTPS_PROXY: `http://${listen}`,
    KEY: 'placeholder-1',
    SSL_CERT_FILE: join(world.paths.trust, 'bundle.pem'),
  });
  const lines = Object.entries(found).map(([name, value]) => `export ${name}='${value}'\n`);
  t.equal((await say(world, ['env'])).out, lines.join(''));
  t.equal((await say(world, ['env', '--shell', '--sandbox', 'dev'])).out, lines.join(''));
  for (const both of [
    ['--json', '--docker'],
    ['--shell', '--json'],
    ['--docker', '--shell'],
  ]) {
    const { code, out, err } = await say(world, ['env', ...both]);
    t.match({ code, err }, { code: 1, err: /cannot be used with/ });
    if (both.includes('--json')) t.match(JSON.parse(out), { code: 'SALLYPORT_USAGE' });
    else t.equal(out, '');
  }
});

t.test('a token is handed in or made anew; without one, the way on is shown', async (t) => {
  const world = await startWorld(t);
  t.match(await say(world, ['env']), { code: 1, out: '', err: /name a sandbox/ });
  const issued = JSON.parse((await say(world, ['sandbox', 'add', 'box', '--json'])).out);
  const words = ['env', '--sandbox', 'box', '--json'];
  const told = /shown once, .* SALLYPORT_TOKEN, or get a new one with --rotate/;
  const refused = await say(world, words);
  t.match(refused, { code: 1, err: told });
  t.match(JSON.parse(refused.out), { code: 'SALLYPORT_USAGE', message: told });
  const env = { SALLYPORT_TOKEN: new URL(issued.proxy_url).password };
  const found = JSON.parse((await say(world, words, null, { env })).out);
  t.equal(found.http_proxy, issued.proxy_url);
  t.notHas(found, { SALLYPORT_TOKEN: String });
  const rotated = JSON.parse((await say(world, [...words, '--rotate'])).out);
  t.match(rotated.http_proxy, /^http:\/\/box:[\w-]{43}@127\.0\.0\.1:\d+$/);
  t.not(rotated.http_proxy, issued.proxy_url);
  t.match(await say(world, ['sandbox', 'add', 'text']), { out: /sbx env --sandbox text/ });
});

t.test('--rotate changes no token where none is used, or where the rest fails', async (t) => {
  const world = await startWorld(t);
  const unix = join(temporaryFolder(t), 'socket');
  await say(world, ['sandbox', 'add', 'from', '--source-address', '192.0.2.1']);
  await say(world, ['sandbox', 'add', 'unix', '--unix', unix]);
  const rotate = (name: string) => say(world, ['env', '--sandbox', name, '--rotate']);
  t.match(await rotate('from'), { code: 1, err: /known without a token \(source-address\)/ });
  t.match(await rotate('unix'), { code: 1, err: /name that with --proxy/ });
  const proxy = ['--proxy', 'http://10.0.0.1:80', '--json'];
  const found = JSON.parse((await say(world, ['env', '--sandbox', 'unix', ...proxy])).out);
  t.equal(found.https_proxy, 'http://10.0.0.1:80');
});

t.test('--docker: an env file, and beside it what else docker run is given', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'dev' });
  const refused = await say(world, ['env', '--docker']);
  t.match(refused, { code: 1, err: /SALLYPORT_TOKEN/ }, 'a container is no loopback client');
  const env = { SALLYPORT_TOKEN: 'a b' };
  const { out, err } = await say(world, ['env', '--docker'], null, { env });
  const port = world.instance.status().listen.split(':').at(-1);
  t.match(out, `\nHTTPS_PROXY=http://dev:a%20b@host.docker.internal:${port}\n`);
  t.match(out, '\nSSL_CERT_FILE=/etc/sallyport/bundle.pem\n');
  t.match(err, `-v '${world.paths.trust}:/etc/sallyport:ro' --add-host host.docker.internal:`);
  t.match(err, `--listen 172.17.0.1:${port}`);
  const words = ['env', '--docker', '--ca-dir', '/ca/', '--proxy', 'http://10.0.0.1:3128'];
  const other = await say(world, words, null, { env });
  t.match(other.out, '\nDENO_CERT=/ca/ca.pem\n');
  t.match(other.out, /^http_proxy=http:\/\/dev:a%20b@10\.0\.0\.1:3128\n/);
  t.equal(other.err, `docker run --env-file FILE -v '${world.paths.trust}:/ca:ro' IMAGE\n`);
});

t.test('a secret that is called as a variable of the proxy is left out, aloud', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'dev' });
  await say(world, [...custom, '--env', 'HTTPS_PROXY'], null, { piped: 'value' });
  const { out, err } = await say(world, ['env', '--json']);
  t.match(JSON.parse(out).HTTPS_PROXY, /^http:/);
  t.match(err, 'The secret HTTPS_PROXY is left out');
});

t.test('what is typed wrong, and no daemon', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'dev' });
  for (const [words, fault] of [
    [['--proxy', 'https://a:1'], 'http://10.0.0.1:3128'],
    [['--proxy', 'http://me:pass@a:1'], 'without a token'],
    [['--proxy', 'a:1'], 'http://10.0.0.1:3128'],
    [['--ca-dir', 'relative'], 'absolute path'],
    [['--sandbox', 'nobody'], 'sandbox "nobody" not found'],
  ] as const) {
    t.match(await say(world, ['env', ...words]), { code: 1, out: '', err: fault }, words.join(' '));
  }
  const nowhere = { paths: resolvePaths(temporaryEnv(t)) };
  t.match(await say(nowhere, ['env']), { code: 1, out: '', err: /sallyport daemon start -d/ });
});
