// Reference document 001, command by command: a lesson in which a package index is denied to an
// agent and given back. The agent is curl with the environment that `sbx run` gives it. The index is
// an origin here, so that its port is not 443; the rules that let it be reached are the world's.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { recordsIn } from '../helpers/audit.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import type { Cli, Ran } from '../helpers/cli.ts';
import { listening } from '../helpers/intercept.ts';
import { cutTable, type ReferenceWorld, referenceWorld, SBX } from '../helpers/reference.ts';

const LOCAL = /^local:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const INDEX = ['pypi.org', 'files.pythonhosted.org'];

let world: ReferenceWorld;
let cli: Cli;
/** Of the index. */
let port: number;
let authorityFile: string;
t.before(async () => {
  world = await referenceWorld(t, ['sbxlab'], '--policy', 'balanced', '--deny', 'inside');
  cli = world.cli;
  const authority = TestAuthority.create();
  authorityFile = join(cli.folder, 'index.pem');
  writeFileSync(authorityFile, authority.pem + (await cli.ok('ca', 'export')));
  const certificate = authority.issue({ names: INDEX.map((name) => `DNS:${name}`).join() });
  const server = createSecureServer({ ...certificate, allowHTTP1: true }, (_, response) => {
    response.end('a package\n');
  });
  port = await listening(t, server);
  await world.rule('allow', INDEX.join(), 'sbxlab');
});

/** What the agent types. */
const agent = (...words: string[]): Promise<Ran> => world.inside('sbxlab', ...words);

/** Asks the index, which has a certificate of an authority that only the agent of the test knows. */
const install = (): Promise<Ran> =>
  agent(
    'curl',
    '-sSf',
    '--fail-early',
    '--cacert',
    authorityFile,
    ...INDEX.map((host) => `https://${host}:${port}/`),
  );

let before = '';
let id = '';

t.test('001 §1: the groups of rules that are there from the start', async (t) => {
  before = await cli.ok('policy', 'ls');
  const { rows } = cutTable(before);
  const groups = {
    'default-ai-services': [
      'api.openai.com',
      'api.anthropic.com',
      'gemini.google.com',
      'cursor.com',
      'api.perplexity.ai',
    ],
    'default-package-managers': [
      'pypi.org',
      'registry.npmjs.org',
      'crates.io',
      'repo.maven.apache.org',
      'rubygems.org',
    ],
    'default-code-and-containers': ['github.com', 'gitlab.com', 'registry-1.docker.io', 'ghcr.io'],
    'default-cloud-infrastructure': [
      's3.amazonaws.com',
      'storage.googleapis.com',
      'azure.com',
      'vercel.com',
      'fastly.com',
    ],
    'default-os-packages': ['archive.ubuntu.com', 'deb.debian.org', 'dl-cdn.alpinelinux.org'],
  };
  const listed = rows.map((row) => row['POLICY/RULE'] ?? '');
  t.strictSame(listed.slice(0, 5), Object.keys(groups));
  for (const [group, hosts] of Object.entries(groups)) {
    const matched = hosts.map(async (host) => (await world.check(host)).matched_rule);
    t.strictSame(
      await Promise.all(matched),
      hosts.map(() => group),
    );
  }
  const needed = ['pypi.org', 'files.pythonhosted.org', 'npmjs.org', 'github.com'];
  t.notOk((await world.allowed(needed)).includes(false));
});

t.test('001 §2: the agent installs a package', async (t) => {
  const ran = await install();
  t.equal(ran.code, 0, ran.err);
  t.equal(ran.out, 'a package\n'.repeat(2));
});

t.test('001 §3.1: a deny rule, which stands at the bottom of the list', async (t) => {
  await cli.ok('policy', 'deny', 'network', 'pypi.org');
  const last = cutTable(await cli.ok('policy', 'ls')).rows.at(-1);
  const cells = Object.values(last ?? {});
  id = LOCAL.exec(cells[2] ?? '')?.[1] ?? '';
  t.not(id, '');
  t.strictSame(cells.slice(3), ['network', 'deny', 'pypi.org']);
});

t.test('001 §3.2, §3.3, §4: the next run is refused, however it tries', async (t) => {
  const installed = await install();
  t.equal(installed.code, 22, 'what curl says of a status of 400 and more');
  const looked = await agent(
    'curl',
    '-sSI',
    '--suppress-connect-headers',
    `https://pypi.org:${port}/simple/requests/`,
  );
  t.equal(looked.code, 0, 'its certificate verifies');
  t.match(looked.out, /^HTTP\/2 403 ?\r\n/);

  t.equal((await world.check('pypi.org')).allowed, false, '§4: though a default allows it');
  for (const spelling of ['pypi.org', 'PyPI.org', 'pypi.org.', 'pypi.org:8080']) {
    t.equal((await world.visit('sbxlab', spelling)).status, 403, spelling);
  }
  t.equal(
    (await world.visit('sbxlab', 'files.pythonhosted.org')).status,
    200,
    'the rest is as it was',
  );
});

t.test('001 §3.4, §4: the rule is removed by its id, and default rules stay', async (t) => {
  await cli.ok('policy', 'rm', 'network', '--id', id);
  t.equal(await cli.ok('policy', 'ls'), before);
  const kept = await cli.run('policy', 'rm', 'network', '--id', 'default-package-managers');
  t.equal(kept.code, 1);
  t.match(kept.err, 'default-package-managers');
  t.equal((await world.check('pypi.org')).allowed, true);
});

t.test('001 §3.5: the agent installs again', async (t) => {
  t.equal((await install()).code, 0);
});

t.test('001 §5: connections as they happen, and the record of them', async (t) => {
  const lines = new Set<string>();
  const words = ['policy', 'log', 'sbxlab', '--follow'];
  const live = spawn(process.execPath, [SBX, ...words], { env: cli.env });
  t.teardown(() => live.kill());
  createInterface(live.stdout).on('line', (line) => lines.add(line));
  // It comes to listen at any time, and the two may go through different workers.
  while (lines.size < 2) {
    await world.visit('sbxlab', 'pypi.org');
    await world.visit('sbxlab', 'blocked.example.com:443');
  }
  t.strictSame([...lines].sort(), [
    `ALLOWED   ${`pypi.org:${world.origin.port}`.padEnd(24)} 200`,
    `BLOCKED   ${'blocked.example.com'.padEnd(24)} -`,
  ]);

  const { audit } = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  const records = recordsIn<{ host: string; verdict: string; time: string }>(audit);
  const denied = records.find(({ host, verdict }) => host === 'pypi.org' && verdict === 'deny');
  t.match(denied, { sandbox: 'sbxlab', port: Number, rule: id });
  t.ok(Math.abs(Date.parse(denied?.time ?? '') - Date.now()) < 600_000, 'and when');
});

t.test('001 §6: a service of the host', async (t) => {
  const service = `host.docker.internal:${world.origin.port}`;
  t.not((await agent('curl', '-sSf', `http://${service}/`)).code, 0);
  await cli.ok('policy', 'allow', 'network', `localhost:${world.origin.port}`);
  const ran = await agent('curl', '-sSf', `http://${service}/`);
  t.equal(ran.code, 0, ran.err);
  t.equal((await world.visit('sbxlab', 'host.docker.internal:1')).status, 403, 'that port alone');
});
