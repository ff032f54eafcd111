// `policy import` typed: the file, the report, the exit code.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { resolvePaths } from '../../src/control/paths.ts';
import { startWorld, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

const SQUID = `acl sites dstdomain "sites.txt"
acl more dstdomain "/dev/zero"
http_access allow sites
http_access allow more
http_access deny all
`;

t.test('a squid.conf becomes a file that apply takes', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  const folder = temporaryFolder(t);
  const [conf, file] = [join(folder, 'squid.conf'), join(folder, 'p.yaml')];
  writeFileSync(conf, SQUID);
  writeFileSync(join(folder, 'sites.txt'), '.example.com\n');
  const { code, out, err } = await say(world, ['policy', 'import', conf, '--from', 'squid']);
  t.equal(code, 0);
  t.equal(
    err,
    `What could not be carried over, or was assumed:
  left-out: ${conf}:2: acl more: /dev/zero cannot be read
`,
  );
  t.equal(
    out,
    `# Made of ${conf} (squid).
# What could not be carried over, or was assumed:
#   left-out: ${conf}:2: acl more: /dev/zero cannot be read
#
version: 1
preset: deny-all
rules:
  # ${conf}:3
  - allow:
      - example.com
      - "**.example.com"
`,
  );
  const strict = ['policy', 'import', conf, '--from', 'squid', '--strict', '-o', file];
  t.match(await say(world, strict), { code: 1, out: '' });
  t.equal(readFileSync(file, 'utf8'), out);
  t.equal((await say(world, ['policy', 'apply', file])).code, 0);
  t.equal((await say(world, ['policy', 'check', 'network', 'a.example.com'])).code, 0);
});

t.test('the other formats, piped in, as JSON', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const srt = '{"network": {"allowedDomains": ["a.com"]}}';
  const whole = await say(world, ['policy', 'import', '-', '--from', 'srt', '--strict'], null, {
    piped: srt,
  });
  t.match(whole, {
    code: 0,
    err: 'All of it was carried over.\n',
    out: /\n {2}# stdin:1:33\n {2}- allow: a\.com\n$/,
  });
  const acl =
    'version: v1\nservices: [{name: box, action: enforce, allowed_domains: [a.com, "*"]}]';
  const { code, out } = await say(
    world,
    ['policy', 'import', '-', '--from', 'smokescreen', '--json'],
    null,
    { piped: acl },
  );
  t.equal(code, 0);
  t.match(JSON.parse(out), {
    document: { version: 1, sandboxes: { box: [{ allow: 'a.com' }] } },
    losses: [{ effect: 'left-out', at: 'stdin:2:66', what: '*', why: 'it is no name' }],
  });
});

t.test('errors', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const folder = temporaryFolder(t);
  const file = join(folder, 'x');
  mkdirSync(join(folder, 'd'));
  writeFileSync(file, '[');
  for (const [words, fault] of [
    [[file], "required option '--from <format>' not specified"],
    [[file, '--from', 'iptables'], 'Allowed choices are squid, smokescreen, srt.'],
    [[file, '--from', 'srt'], `ERROR: ${file}:1:2: `],
    [['/nonexistent', '--from', 'squid'], 'cannot read /nonexistent: ENOENT'],
  ] as const) {
    const { code, out, err } = await say(world, ['policy', 'import', ...words]);
    t.strictSame([code, out], [2, ''], '1 is for what --strict finds');
    t.match(err, fault);
  }
  writeFileSync(file, '');
  const nowhere = await say(world, [
    'policy',
    'import',
    file,
    '--from',
    'squid',
    '-o',
    join(folder, 'd'),
  ]);
  t.match(nowhere, { code: 2, err: /cannot write .*: EISDIR/ });
  t.notOk(existsSync(join(folder, 'p.yaml')));
});
