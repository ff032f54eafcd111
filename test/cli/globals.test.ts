// Options of every command, before it and behind it. Covers src/cli/context.ts too.
import t from 'tap';
import { createContext } from '../../src/cli/context.ts';
import { givenOptions, withStartOptions } from '../../src/cli/daemon-options.ts';
import { createProgram } from '../../src/cli/program.ts';
import { startWorld } from '../helpers/control.ts';
import { say } from './session.ts';

const PERSON = 'y\r'; // Who is there, and would say yes.

t.test('--no-input: what would ask fails, and names the command to run', async (t) => {
  const world = await startWorld(t);
  await say(world, ['policy', 'allow', 'network', 'a.test']);
  await say(world, ['secret', 'set', 'github'], null, { piped: 'x' });
  for (const [words, wanted] of [
    [
      ['policy', 'rm', 'network', '--resource', 'a.test,b c'],
      "Run instead: sbx policy rm network --resource 'a.test,b c' --force\n",
    ],
    [
      ['policy', 'rm', 'filesystem', '--resource', '**'],
      "Run instead: sbx policy rm filesystem --resource '**' --force\n",
    ],
    [['policy', 'reset'], 'Run instead: sbx policy reset --force\n'],
    [['ca', 'rotate'], 'Run instead: sbx ca rotate --force\n'],
    [['secret', 'rm', 'github'], 'Run instead: sbx secret rm github --force\n'],
    [['secret', 'rm'], 'name what to remove: a service, --registry HOST, --env NAME or --all'],
    [['secret', 'set'], 'name a service ('],
    [['secret', 'set', 'openai'], 'Run instead: sbx secret set openai < FILE\n'],
    [['secret', 'set', 'github', '-t', 'y'], 'use --force to replace it'],
  ] as const) {
    for (const all of [
      ['--no-input', ...words],
      [...words, '--no-input'],
    ]) {
      const { code, out, err } = await say(world, all, PERSON);
      t.strictSame([code, out], [1, ''], `${all.join(' ')}: ${err}`);
      t.match(err, /^(WARNING: .*\n)?ERROR: /);
      t.match(err, wanted);
    }
  }
  const middle = await say(world, ['policy', '--no-input', 'rm', 'network', '--id', 'x'], PERSON);
  t.match(middle.err, 'ERROR: --no-input is given, and this asks first\n');
  const nobody = ['--no-input', 'policy', 'rm', 'network', '--resource', 'a.test'];
  t.match((await say(world, nobody)).err, 'Run instead: ', 'whether or not somebody is there');
  t.equal((await say(world, [...nobody, '--force'])).code, 0);
  t.equal(
    (await say(world, ['secret', 'set', 'openai', '--no-input'], null, { piped: 'v' })).code,
    0,
  );
});

t.test('--no-input: the policy to begin with is not asked for', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  const { code, out, err } = await say(world, ['--no-input', 'policy', 'ls'], '1');
  t.strictSame([code, out], [1, '']);
  t.match(err, 'sbx policy set-default balanced');
});

t.test('--debug: what is done, on the error stream', async (t) => {
  const world = await startWorld(t);
  const plain = await say(world, ['policy', 'ls', '--json']);
  for (const words of [
    ['-D', 'policy', 'ls', '--json'],
    ['policy', 'ls', '--json', '--debug'],
  ]) {
    const { code, out, err } = await say(world, words);
    t.strictSame([code, out], [0, plain.out]);
    t.match(err, /^(DEBUG: .*\n)+$/);
    t.match(err, `socket ${world.paths.socket}`);
    t.match(
      err,
      /\nDEBUG: GET \/policy\/network\/rules\?type=all&include_inactive=false: 200, [\d.]+ ms\n/,
    );
  }
  const failed = await say(world, ['policy', 'inspect', 'x', '-D']);
  t.match(failed.err, /: 404, .*\nDEBUG: SallyportError: [\s\S]*\nERROR: /);
  const secret = await say(world, ['-D', 'secret', 'set', 'github'], null, {
    piped: 'hidden-value',
  });
  t.match(secret.err, 'DEBUG: POST /secrets: 201');
  t.notMatch(secret.err, 'hidden-value');
  t.equal(plain.err, '');
});

t.test("what stands behind run's command is that command's", async (t) => {
  const world = await startWorld(t);
  const { err } = await say(world, ['run', 'nonexistent-command', '--no-input', '-D']);
  t.notMatch(err, 'DEBUG');
});

t.test('they are no options of a start', async (t) => {
  const program = createProgram(
    createContext({ program: 'sbx', version: '0', env: { HOME: '/nowhere' } } as never),
  );
  const start = program.commands.find((one) => one.name() === 'daemon')?.commands[0];
  start?.parseOptions(['--debug', '--no-input', '--via']);
  t.strictSame(givenOptions(start ?? withStartOptions(program)), [['--via']]);
});
