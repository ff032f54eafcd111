// What is printed for programs. The document is the same in each form, whatever is in it.
import { Command } from 'commander';
import t from 'tap';
import { parse } from 'yaml';
import { createContext } from '../../src/cli/context.ts';
import { print, withFormat } from '../../src/cli/format.ts';
import { startWorld } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('--format table|json|yaml, and --json', async (t) => {
  const world = await startWorld(t, { approvals: 'ask' });
  await say(world, ['policy', 'allow', 'network', 'a.test,*.b.test:443']);
  for (const [words, exit] of [
    [['policy', 'ls'], 0],
    [['policy', 'inspect', 'default-fs-read-allow-all'], 0],
    [['policy', 'check', 'network', 'a.test'], 0],
    [['policy', 'check', 'network', 'c.test'], 1],
    [['policy', 'approval', 'ls'], 0],
  ] as const) {
    const at = async (...more: string[]) => {
      const { code, out, err } = await say(world, [...words, ...more]);
      t.strictSame([code, err], [exit, ''], [...words, ...more].join(' '));
      return out;
    };
    const json = await at('--json');
    t.equal(await at('--format', 'json'), json);
    t.equal(await at('--format=json', '--json'), json, 'both, agreeing');
    const yaml = await at('--format', 'yaml');
    t.throws(() => JSON.parse(yaml));
    t.strictSame(parse(yaml), JSON.parse(json));
    t.equal(await at('--format', 'table'), await at());
    for (const other of ['table', 'yaml']) {
      const both = await say(world, [...words, '--json', '--format', other]);
      t.equal(both.code, words[1] === 'check' ? 2 : 1);
      t.match(both.err, `ERROR: --json and --format ${other} exclude each other\n`);
    }
    t.match((await say(world, [...words, '--format', 'xml'])).err, 'Allowed choices are table,');
  }
  t.match(
    (await say(world, ['policy', 'ls', '--format', 'yaml'])).out,
    '\n      - "*.b.test:443"\n',
  );
});

t.test('a failure is a document, too, where one was asked for', async (t) => {
  const world = await startWorld(t);
  for (const form of [['--format', 'json'], ['--format=yaml'], ['--json']]) {
    const { code, out } = await say(world, ['policy', 'inspect', 'nothing', ...form]);
    t.equal(code, 1);
    t.match(parse(out), { code: 'SALLYPORT_NOT_FOUND', message: /nothing/ });
  }
  const { out } = await say(world, ['policy', 'inspect', 'nothing', '--format', 'table']);
  t.equal(out, '');
});

t.test('words that older readers of YAML take for something else are quoted', async (t) => {
  let written = '';
  const out = (text: string | Uint8Array): void => {
    written += text;
  };
  const context = { ...createContext({ env: {} } as never), out };
  const same = { a: 'x' };
  print(context, { format: 'yaml' }, { no: 'no', at: '12:30', one: same, two: same }, String);
  t.equal(written, '"no": "no"\nat: "12:30"\none:\n  a: x\ntwo:\n  a: x\n');
  t.equal(withFormat(new Command()).options.length, 2);
});

t.test('there are no profiles, and that is said as sbx says it', async (t) => {
  const world = await startWorld(t);
  for (const [words, wanted] of [
    [['profile', 'ls'], 'No policy profiles found\n'],
    [['profile', 'list', '-q'], ''],
    [['ls', '--profile', 'work'], 'No policies match the selected filters.\n'],
  ] as const) {
    const { code, out, err } = await say(world, ['policy', ...words]);
    t.strictSame([code, out, err], [0, wanted, '']);
  }
  const { out } = await say(world, ['policy', 'profile', 'ls', '--json']);
  t.strictSame(JSON.parse(out), { profiles: [], policy_rules_unavailable: false });
});
