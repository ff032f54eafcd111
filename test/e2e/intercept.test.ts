// Programs that people run in sandboxes, unchanged, through hosts that are intercepted: the secret
// arrives at the origin, in the place where its placeholder stood, and the program never has it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Ran } from '../helpers/cli.ts';
import { createRepository, gitBackend, gitHandler } from '../helpers/git-origin.ts';
import { filesWith, type Sandboxed, type Seen, sandboxed } from '../helpers/sandboxed.ts';

let world: Sandboxed;
t.before(async () => {
  world = await sandboxed(t, '--workers', '2', '--deny', 'inside');
});

/** Neither what a program said nor what it keeps in its home holds the secret. */
function unseen(t: Test, home: string, secret: string, ran?: Ran): void {
  t.notMatch(`${ran?.out}${ran?.err}`, secret, 'it never said it');
  t.strictSame(filesWith(world.folderOf(home), [secret]), [], 'nor keeps it');
}

/** The one request that came for a host, in which no placeholder is left. */
function arrived(t: Test, host: string, placeholder: string): Seen {
  const [one, ...more] = world.origin.to(host);
  t.equal(more.length, 0, `one request for ${host}`);
  if (one === undefined) return t.bailout(`nothing came for ${host}`) as never;
  t.notMatch(JSON.stringify([one.url, one.headers]), placeholder);
  return one;
}

for (const [name, version] of [
  ['--http1.1', '1.1'],
  ['--http2', '2.0'],
] as const) {
  t.test(`curl ${name}`, async (t) => {
    const host = `curl${version.at(0)}.origin.test`;
    const secret = `curl-secret-${version}-0123456789`;
    const { origin } = world;
    origin.handlers.set(host, (_, response) => void response.end('content'));
    const placeholder = await world.secret(secret, `CURL_${version.at(0)}`, '--host', host);
    const url = `https://${host}:${origin.port}/file?key=${placeholder}`;
    const field = `Authorization: Bearer ${placeholder}`;
    const write = '\n%{http_code} %{http_version}';
    const ran = await world.run('curl', 'curl', ['-sS', name, '-H', field, '-w', write, url]);
    t.equal(ran.out, `content\n200 ${version.replace('.0', '')}`, ran.err);
    const seen = arrived(t, host, placeholder);
    t.match(seen, { version, url: `/file?key=${secret}` });
    t.equal(seen.headers.authorization, `Bearer ${secret}`);
    unseen(t, 'curl', secret, ran);
  });
}

t.test('curl -I of a denied host reads the refusal', async (t) => {
  const ran = await world.run('curl', 'curl', ['-sS', '-I', 'https://denied.example.com/']);
  t.match(
    ran.out,
    /^HTTP\/1.1 200 [^\n]+\n\r\nHTTP\/2 403 \r\n[\s\S]*x-sallyport-code: SALLYPORT_DENIED\r/i,
    ran.err,
  );
});

const backend = gitBackend();
const noGit = backend === null && 'git http-backend is not installed';

/** @returns the Basic credentials of each request that came for a host; '' where there were none. */
function basics(host: string): string[] {
  return world.origin.to(host).map(({ headers }) => {
    const encoded = headers.authorization?.replace(/^Basic /, '') ?? '';
    return Buffer.from(encoded, 'base64').toString();
  });
}

t.test('git clones and pushes with a placeholder for a password', { skip: noGit }, async (t) => {
  const host = 'git.origin.test';
  const secret = 'git-secret-0123456789abcdef';
  const placeholder = await world.secret(secret, 'GIT_TOKEN', '--host', host);
  const root = join(world.cli.folder, 'repositories');
  mkdirSync(root);
  createRepository(root, 'one.git');
  world.origin.handlers.set(host, gitHandler(backend ?? '', root));
  const url = `https://me:${placeholder}@${host}:${world.origin.port}/one.git`;
  const git = async (...args: string[]): Promise<Ran> => {
    const who = ['-c', 'user.name=t', '-c', 'user.email=t@t.example'];
    const ran = await world.run('git', 'git', [...who, ...args]);
    t.equal(ran.code, 0, `git ${args[0]}: ${ran.err}`);
    return ran;
  };
  await git('clone', '-q', url, 'clone');
  const work = join(world.folderOf('git'), 'clone');
  t.equal(readFileSync(join(work, 'hello.txt'), 'utf8'), 'hello\n');
  writeFileSync(join(work, 'hello.txt'), 'more');
  await git('-C', work, 'commit', '-qam', 'two');
  const ran = await git('-C', work, 'push', '-q');
  const pushed = execFileSync('git', ['-C', join(root, 'one.git'), 'log', '--format=%s', 'main']);
  t.equal(String(pushed), 'two\none\n');
  const [first, ...others] = basics(host);
  t.equal(first, '', 'git asks without first');
  t.ok(others.length >= 3);
  t.ok(others.every((one) => one === '' || one === `me:${secret}`));
  t.ok(others.includes(`me:${secret}`));
  unseen(t, 'git', secret, ran);
});

t.test('git clones from github.com with no credential at all', { skip: noGit }, async (t) => {
  const host = 'github.com';
  const secret = 'ghp_0123456789abcdefghijklmnopqrstuvwxyz';
  t.match(await world.cli.pipe(secret, 'secret', 'set', 'github'), { code: 0 });
  const root = join(world.cli.folder, 'github');
  mkdirSync(root);
  createRepository(root, 'two.git');
  world.origin.handlers.set(host, gitHandler(backend ?? '', root));
  const url = `https://${host}:${world.origin.port}/two.git`;
  const ran = await world.run('github', 'git', ['clone', '-q', url, 'clone']);
  t.equal(ran.code, 0, ran.err);
  t.equal(readFileSync(join(world.folderOf('github'), 'clone', 'hello.txt'), 'utf8'), 'hello\n');
  const sent = basics(host);
  t.ok(sent.length >= 2);
  t.ok(
    sent.every((one) => one === `x-access-token:${secret}`),
    'each request has it',
  );
  unseen(t, 'github', secret, ran);
});

/** Serves a registry of npm with the one package `left` to whoever has the token. */
function serveRegistry(host: string, secret: string): void {
  const folder = world.folderOf('registry');
  mkdirSync(join(folder, 'package'));
  const manifest = { name: 'left', version: '1.2.3' };
  writeFileSync(join(folder, 'package', 'package.json'), JSON.stringify(manifest));
  const tarball = execFileSync('tar', ['-czf', '-', 'package'], { cwd: folder });
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const dist = { tarball: `https://${host}:${world.origin.port}/left.tgz`, integrity };
  const versions = { '1.2.3': { ...manifest, dist } };
  const packument = { name: 'left', 'dist-tags': { latest: '1.2.3' }, versions };
  world.origin.handlers.set(host, ({ url, headers }, response) => {
    if (headers.authorization !== `Bearer ${secret}`) response.writeHead(401).end();
    else response.end(url === '/left.tgz' ? tarball : JSON.stringify(packument));
  });
}

t.test('npm installs from a registry that wants a token', async (t) => {
  const host = 'npm.origin.test';
  const secret = 'npm_0123456789abcdefghijklmnopqrstuvwxyz';
  const placeholder = await world.secret(secret, 'NPM_TOKEN', '--host', host);
  serveRegistry(host, secret);
  const registry = `//${host}:${world.origin.port}/`;
  const home = world.folderOf('npm');
  const settings = [`cafile=${world.caFile}`, `registry=https:${registry}`];
  writeFileSync(
    join(home, '.npmrc'),
    [...settings, `${registry}:_authToken=${placeholder}`, ''].join('\n'),
  );
  mkdirSync(join(home, 'project'));
  writeFileSync(join(home, 'project', 'package.json'), '{}');
  const words = ['install', '--no-audit', '--no-fund', '--prefix', join(home, 'project'), 'left'];
  const ran = await world.run('npm', 'npm', words);
  t.equal(ran.code, 0, ran.err);
  const installed = join(home, 'project', 'node_modules', 'left', 'package.json');
  t.match(JSON.parse(readFileSync(installed, 'utf8')), { version: '1.2.3' });
  t.match(
    world.origin.to(host).map(({ url }) => url),
    ['/left', '/left.tgz'],
  );
  unseen(t, 'npm', secret, ran);
});

/** @returns a Python that has these modules, or null. */
function pythonWith(...modules: string[]): string | null {
  for (const python of ['python3', '/usr/bin/python3']) {
    try {
      execFileSync(python, ['-c', `import ${modules.join()}`], { stdio: 'ignore' });
      return python;
    } catch {} // The next one, then.
  }
  return null;
}

const REQUESTS = `
import os, sys, requests
with requests.Session() as session:
    session.headers['X-Api-Key'] = os.environ['KEY']
    for _ in range(2):
        answer = session.get(sys.argv[1], params={'key': os.environ['KEY']}, timeout=20)
        print(answer.status_code, answer.text)
`;

t.test('python requests', async (t) => {
  const python = pythonWith('requests');
  if (python === null) return t.pass('', { skip: 'python requests is not installed' });
  const host = 'requests.origin.test';
  const secret = 'requests/secret+0123456789=';
  const placeholder = await world.secret(secret, 'KEY', '--host', host);
  world.origin.handlers.set(host, (_, response) => void response.end('content'));
  const url = `https://${host}:${world.origin.port}/simple/`;
  const ran = await world.run('requests', 'env', [
    `KEY=${placeholder}`,
    python,
    '-c',
    REQUESTS,
    url,
  ]);
  t.equal(ran.out, '200 content\n200 content\n', ran.err);
  const seen = world.origin.to(host);
  t.equal(seen.length, 2);
  for (const { headers, url: path } of seen) {
    t.equal(headers['x-api-key'], secret);
    t.equal(path, `/simple/?key=${encodeURIComponent(secret)}`);
  }
  unseen(t, 'requests', secret, ran);
});

const HTTPX = `
import os, sys, httpx
with httpx.Client(http2=True, verify=os.environ['SSL_CERT_FILE']) as client:
    answer = client.post(sys.argv[1], headers={'authorization': 'Bearer ' + os.environ['KEY']}, content=b'x' * 100000)
    print(answer.http_version, answer.status_code, answer.text)
`;

t.test('python httpx over HTTP/2', async (t) => {
  const python = pythonWith('httpx', 'h2');
  if (python === null) return t.pass('', { skip: 'python httpx with h2 is not installed' });
  const host = 'httpx.origin.test';
  const secret = 'httpx-secret-0123456789';
  const placeholder = await world.secret(secret, 'HTTPX_KEY', '--host', host);
  world.origin.handlers.set(host, async (request, response) => {
    let bytes = 0;
    for await (const piece of request) bytes += piece.length;
    response.end(`${bytes} bytes`);
  });
  const url = `https://${host}:${world.origin.port}/v1`;
  const ran = await world.run('httpx', 'env', [`KEY=${placeholder}`, python, '-c', HTTPX, url]);
  t.equal(ran.out, 'HTTP/2 200 100000 bytes\n', ran.err);
  const seen = arrived(t, host, placeholder);
  t.equal(seen.version, '2.0');
  t.equal(seen.headers.authorization, `Bearer ${secret}`);
  unseen(t, 'httpx', secret, ran);
});
