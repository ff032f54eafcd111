// `policy lint` typed, on files and on a daemon. Covers src/cli/policy-source.ts too.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DOCUMENT_BYTES_MAX } from '../../src/base/limits.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { startWorld, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

const LINT = ['policy', 'lint'];

t.test('a file, without a daemon: places, reasons, exit codes', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const file = join(temporaryFolder(t), 'p.yaml');
  writeFileSync(
    file,
    `version: 1
preset: balanced
rules:
  - allow: [example.com, "**.amazonaws.com"]
  - deny: example.com
    id: no-example
  - {allow: api.com, methods: [GET], paths: [/a]}
sandboxes:
  box:
    - allow: api.com
    - allow: api.com:443
`,
  );
  const found = await say(world, [...LINT, file]);
  t.equal(found.code, 1, found.err);
  t.match(found.out, `error: contradictory: allow example.com\n  rule ${file}:4:5 (global)\n`);
  t.match(found.out, '  rule no-example (deny example.com) denies the same, and deny wins\n');
  t.match(found.out, 'warning: over-broad: allow **.amazonaws.com\n');
  t.match(found.out, `info: shadowed: allow api.com:443\n  rule ${file}:11:7 (sandbox:box)\n`);
  t.notMatch(found.out, 'default-', 'not about the preset');
  t.notMatch(found.out, 'To remove it', 'a file is edited');
  t.match(found.out, /3 findings in \d+ rules: 1 error, 1 warning, 1 info\n$/);

  const json = JSON.parse((await say(world, [...LINT, file, '--json'])).out);
  t.match(json, { total: 3, complete: true, findings: [{ kind: 'contradictory', by: {} }] });
  t.match(json.findings[0], {
    severity: 'error',
    rule: `${file}:4:5`,
    scope: 'global',
    decision: 'allow',
    resource: 'example.com',
    by: { rule: 'no-example', decision: 'deny', resource: 'example.com' },
  });
  t.match((await say(world, [...LINT, '--all', file])).out, 'rule default-');

  const piped = await say(world, [...LINT, '-'], null, { piped: 'version: 1\nrules: []' });
  t.strictSame([piped.code, piped.out], [0, 'No findings in 0 rules.\n']);
});

t.test('errors have the exit code 2', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const file = join(temporaryFolder(t), 'p.yaml');
  writeFileSync(file, 'version: 1\nrules:\n  - allow: "*"\n');
  const large = join(temporaryFolder(t), 'large.yaml');
  writeFileSync(large, '#'.repeat(DOCUMENT_BYTES_MAX + 1));
  for (const [words, fault] of [
    [[file], `ERROR: ${file}:3:12: "*": a lone * is ambiguous`],
    [[large], 'has more than'],
    [['/nonexistent.yaml'], 'cannot read /nonexistent.yaml: ENOENT'],
    [['/'], 'cannot read /: EISDIR'],
    [['--bad'], "unknown option '--bad'"],
  ] as const) {
    const { code, out, err } = await say(world, [...LINT, ...words]);
    t.strictSame([code, out], [2, ''], words.join(' '));
    t.match(err, fault);
  }
  const nobody = await say(world, [...LINT, '-'], '');
  t.equal(nobody.code, 2);
  t.match(nobody.err, 'stdin is a terminal');
});

t.test('the policy in force, with the command that helps', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  const ok = async (...words: string[]): Promise<string> => {
    const { code, out, err } = await say(world, words);
    if (code !== 0) throw new Error(`${words.join(' ')}: ${err}`);
    return out;
  };
  t.match(await ok(...LINT), /^No findings in \d+ rules\.\n$/);
  await ok('sandbox', 'add', 'box');
  await ok('policy', 'allow', 'network', '--sandbox', 'box', 'registry.npmjs.org:443');
  const { code, out } = await say(world, LINT);
  t.equal(code, 1);
  t.match(out, 'info: shadowed: allow registry.npmjs.org:443\n  rule local:');
  t.match(out, '(sandbox:box)\n  rule default-package-managers (allow *.npmjs.org');
  const [, fix = ''] = /To remove it: sbx (.*)\n/.exec(out) ?? [];
  await ok(...fix.split(' '));
  t.match(await ok(...LINT), 'No findings');
  const all = await say(world, [...LINT, '--all', '--json']);
  t.equal(all.code, 1, 'presets are broad on purpose');
  t.match(all.out, '"kind": "over-broad"');
});
