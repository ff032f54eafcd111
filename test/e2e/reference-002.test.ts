// Reference document 002, command by command: which rules there are, where they come from, and what
// the sandboxes did. First by local policy alone, then under an organisation, whose server is ours;
// with that goes what document 000 says of organisations.
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Cli } from '../helpers/cli.ts';
import { type Governing, startGovernance } from '../helpers/governance.ts';
import {
  cutLog,
  cutTable,
  LOG_HEADINGS,
  type ReferenceWorld,
  referenceWorld,
  type TableRow,
} from '../helpers/reference.ts';

const HEADINGS = ['PROVENANCE', 'APPLIES_TO', 'POLICY/RULE', 'TYPE', 'DECISION', 'RESOURCES'];
const WITH_STATUS = HEADINGS.toSpliced(5, 0, 'STATUS');
const NOT_DELEGATED = [
  'inactive — corporate policy',
  'takes precedence and does',
  'not delegate this rule type',
  'to local policy.',
];
const REMOTE = [
  ['filesystem / allow home subdirectories', 'filesystem:write', 'allow', '~/**'],
  ['filesystem / deny home directory', 'filesystem:write', 'deny', '~/'],
  ['network / allow AI services', 'network', 'allow', 'api.anthropic.com api.openai.com'],
  ['network / allow Docker services', 'network', 'allow', '*.docker.com *.docker.io'],
].map(([rule, ...cells]) => ['remote', 'all', `default ${rule}`, ...cells]);
const FILESYSTEM = ['default-fs-read-allow-all', 'default-fs-write-allow-all'];

let world: ReferenceWorld;
let cli: Cli;
let governing: Governing;
/** Before anybody governed. */
let rowsBefore: readonly TableRow[];
t.before(async () => {
  world = await referenceWorld(t, ['my-sandbox'], '--policy', 'balanced');
  cli = world.cli;
  const kit = join(cli.folder, 'kit.yaml');
  writeFileSync(kit, 'runtime: {allow: [api.github.com, registry.npmjs.test]}\n');
  await world.add('docs', '--kit', kit);
  await world.rule('allow', '127.0.0.1', 'docs');
  governing = await startGovernance(t);
});

t.test('002 §1: rules of local policy and of a kit', async (t) => {
  await world.rule('deny', 'ads.example.com', 'docs');
  const listing = await cli.ok('policy', 'ls');
  const { headings, rows } = cutTable(listing);
  t.strictSame(headings, HEADINGS);
  const named = (name: string) => rows.find((row) => row['POLICY/RULE'] === name);
  const preset = { PROVENANCE: 'local', APPLIES_TO: 'all', DECISION: 'allow' };
  t.match(named('default-ai-services'), { ...preset, TYPE: 'network' });
  t.match(listing, /\n {40,}api\.anthropic\.com:443\n/, 'each resource has a line');
  t.match(named('default-fs-read-allow-all'), {
    ...preset,
    TYPE: 'filesystem:read',
    RESOURCES: '**',
  });
  t.match(named('default-fs-write-allow-all'), {
    ...preset,
    TYPE: 'filesystem:write',
    RESOURCES: '**',
  });
  t.strictSame(Object.values(named('kit:docs') ?? {}), [
    ...['kit', 'sandbox:docs', 'kit:docs', 'network', 'allow'],
    'api.github.com registry.npmjs.test',
  ]);
  t.match(rows.at(-1), {
    PROVENANCE: 'local',
    APPLIES_TO: 'sandbox:docs',
    TYPE: 'network',
    DECISION: 'deny',
    RESOURCES: 'ads.example.com',
  });
  t.notMatch(listing, 'Governance', 'the header is there while somebody governs');
});

t.test('002 §2, §3: rules of one type, and of one sandbox', async (t) => {
  const filesystem = cutTable(await cli.ok('policy', 'ls', '--type', 'filesystem'));
  t.strictSame(filesystem.headings, HEADINGS);
  t.strictSame(
    filesystem.rows.map((row) => row['POLICY/RULE']),
    FILESYSTEM,
  );
  const network = cutTable(await cli.ok('policy', 'ls', '--type', 'network')).rows;
  t.ok(network.every(({ TYPE }) => TYPE === 'network'));
  const mine = cutTable(await cli.ok('policy', 'ls', 'my-sandbox')).rows;
  t.strictSame(
    [...new Set(mine.map((row) => row.APPLIES_TO))].sort(),
    ['all', 'sandbox:my-sandbox'],
    'global rules and its own, not those of another',
  );
});

t.test('002 §3: a workspace that is to be written needs both rules', async (t) => {
  const [one, two] = ['one', 'two'].map((name) => join(realpathSync(cli.folder), name));
  for (const folder of [one, two]) mkdirSync(folder ?? '');
  const decided = async (path = ''): Promise<boolean[]> => [
    await world.mount('my-sandbox', path, false),
    await world.mount('my-sandbox', path, true),
  ];
  t.strictSame(await decided(one), [true, true], 'by default');
  await cli.ok('policy', 'deny', 'filesystem', '--write', one ?? '');
  t.strictSame(await decided(one), [true, false]);
  await cli.ok('policy', 'deny', 'filesystem', '--read', two ?? '');
  t.strictSame(await decided(two), [false, false]);
});

t.test('002 §4: which hosts were contacted, and by which rule', async (t) => {
  await world.rule('allow', 'seen.test');
  await world.visit('my-sandbox', 'seen.test');
  await world.visit('my-sandbox', 'unseen.test');
  await world.visit('docs', 'seen.test');
  await world.logged();
  const log = cutLog(await cli.ok('policy', 'log'));
  t.strictSame([...log.keys()], ['Blocked requests:', 'Allowed requests:']);
  for (const { headings } of log.values()) t.strictSame(headings, LOG_HEADINGS);
  const [blocked = [], allowed = []] = [...log.values()].map(({ rows }) => rows);
  const mine = { SANDBOX: 'my-sandbox', TYPE: 'network', PROXY: 'forward', COUNT: '1' };
  const unseen = blocked.find(({ HOST }) => HOST?.startsWith('unseen.test'));
  t.match(unseen, { ...mine, REASON: /default deny/ });
  const seen = allowed.filter(({ HOST }) => HOST?.startsWith('seen.test'));
  t.match(new Set(seen.map(({ SANDBOX }) => SANDBOX)), new Set(['my-sandbox', 'docs']));
  t.match(seen, [{ RULE: /^local:/ }, { RULE: /^local:/ }]);

  const last = JSON.parse(await cli.ok('policy', 'log', 'docs', '--limit', '1', '--json'));
  t.strictSame(last.blocked_hosts, []);
  t.match(last.allowed_hosts, [{ vm_name: 'docs', proxy_type: 'forward' }]);
  const types = (parts: typeof log) =>
    new Set([...parts.values()].flatMap(({ rows }) => rows.map(({ TYPE }) => TYPE)));
  t.strictSame(types(log), new Set(['filesystem', 'network']), 'mounts are in it, too');
  const network = cutLog(await cli.ok('policy', 'log', '--type', 'network'));
  t.strictSame(types(network), new Set(['network']));
});

t.test('002 §1, 000 §0, §2: an organisation governs', async (t) => {
  await organizationPolicies();
  const tokenFile = join(cli.folder, 'token');
  writeFileSync(tokenFile, governing.tokens.reader, { mode: 0o600 });
  rowsBefore = cutTable(await cli.ok('policy', 'ls')).rows;
  const from = ['--governance', governing.url, '--governance-token-file', tokenFile];
  t.equal((await cli.run('daemon', 'restart', ...from)).code, 0);
  await world.follow();

  const { header, headings, rows } = cutListing(await cli.ok('policy', 'ls'));
  const [title, line, governance, sync, hidden, ...none] = header;
  t.strictSame([title, line, none], ['Policy rules', '------------', []]);
  t.match(governance, /^Governance +Managed by my-org$/);
  t.match(sync, /^Sync +OK, last synced \d\d:\d\d:\d\d$/);
  const count = rowsBefore.length;
  t.match(
    hidden,
    new RegExp(`^Hidden +${count} inactive rules\\. Show with: sbx policy ls --include-inactive$`),
  );
  t.strictSame(headings, HEADINGS);
  t.strictSame(
    rows.map((row) => Object.values(row)),
    REMOTE,
  );
});

t.test('002 §2, 000 §1.1, §2: local rules and kits are overruled, and still listed', async (t) => {
  const { header, headings, rows, text } = cutListing(
    await cli.ok('policy', 'ls', '--include-inactive'),
  );
  t.equal(header.length, 4, 'nothing is hidden');
  t.strictSame(headings, WITH_STATUS);
  const [ours, remote] = [rows.slice(0, rowsBefore.length), rows.slice(rowsBefore.length)];
  t.strictSame(
    ours.map(({ STATUS, ...row }) => row),
    rowsBefore,
    'they stand first, as before',
  );
  for (const row of ours) t.equal(row.STATUS, NOT_DELEGATED.join(' '));
  for (const piece of NOT_DELEGATED) t.match(text, new RegExp(`  ${piece}( {2,}|\n)`));
  t.strictSame(
    remote.map(({ STATUS, ...row }) => [STATUS, ...Object.values(row)]),
    REMOTE.map((cells) => ['active', ...cells]),
  );

  t.strictSame(await world.allowed(['seen.test', 'pypi.org', 'api.openai.com']), [
    false,
    false,
    true,
  ]);
  t.equal((await world.visit('my-sandbox', 'seen.test')).status, 403);
  await governing.admin('PATCH', '/settings', { delegates: ['network'] });
  await cli.ok('policy', 'refresh');
  t.strictSame(await world.allowed(['seen.test', 'api.openai.com']), [true, true], 'delegated');
});

t.test('002 §1: whether the rules are the latest, and how to get them', async (t) => {
  await governing.admin('PATCH', '/settings', { delegates: [] });
  const { body } = await governing.admin('POST', '/policies', { name: 'late' });
  const rule = { name: 'x', actions: ['connect:tcp'], resources: ['late.test'], decision: 'allow' };
  await governing.admin('POST', `/policies/${body.id}/rules`, rule);
  t.strictSame(await world.allowed(['late.test']), [false]);
  await cli.ok('policy', 'reset', '--force');
  await cli.ok('policy', 'set-default', 'balanced');
  t.match(await cli.ok('policy', 'ls'), /\nremote +all +late \/ x +network +allow +late\.test\n/);

  writeFileSync(join(cli.folder, 'token'), 'another');
  t.equal((await cli.run('policy', 'refresh')).code, 1);
  t.match((await cli.ok('policy', 'ls')).split('\n')[3], /^Sync +failed, last synced .* \(.*401/);
});

/** The lines above the table, and the table. */
function cutListing(
  text: string,
): { header: string[]; text: string } & ReturnType<typeof cutTable> {
  const end = text.indexOf('\n\n');
  return { header: text.slice(0, end).split('\n'), text, ...cutTable(text.slice(end)) };
}

async function organizationPolicies(): Promise<void> {
  const policies = {
    filesystem: [
      { name: 'allow home subdirectories', actions: ['write'], resources: ['~/**'] },
      { name: 'deny home directory', actions: ['write'], resources: ['~/'], decision: 'deny' },
    ],
    network: [
      { name: 'allow AI services', resources: ['api.anthropic.com', 'api.openai.com'] },
      { name: 'allow Docker services', resources: ['*.docker.com', '*.docker.io'] },
    ],
  };
  for (const [domain, rules] of Object.entries(policies)) {
    const { body } = await governing.admin('POST', '/policies', { name: `default ${domain}` });
    for (const rule of rules) {
      const whole = { actions: ['connect:tcp'], decision: 'allow', ...rule };
      const { status, body: told } = await governing.admin(
        'POST',
        `/policies/${body.id}/rules`,
        whole,
      );
      t.equal(status, 201, JSON.stringify(told));
    }
  }
}
