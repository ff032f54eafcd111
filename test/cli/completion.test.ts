import { spawnSync } from 'node:child_process';
import t from 'tap';
import { completions } from '../../src/cli/completion.ts';
import { createContext } from '../../src/cli/context.ts';
import { createProgram } from '../../src/cli/program.ts';

const written: string[] = [];
const context = createContext({
  program: 'sallyport',
  version: '0.0.0',
  env: { HOME: '/nowhere' },
  terminal: null,
  stdin: null,
  columns: 0,
  launcher: '',
  out: (text) => void written.push(String(text)),
  err: () => {},
  exitWith: () => {},
  onInterrupt: () => () => {},
});

t.test('every command is completed, with its options and choices', async (t) => {
  const table = new Map(
    completions(createProgram(context)).map(({ path, words }) => [path, words]),
  );
  t.ok(table.get('')?.includes('policy'));
  t.ok(table.get('policy')?.includes('check'));
  t.ok(table.get('policy allow network')?.includes('--sandbox'));
  t.ok(table.get('env')?.includes('--docker'));
  t.ok(table.get('run')?.includes('--sandbox'));
  t.ok(table.get('policy set-default')?.includes('balanced'));
  t.notOk(table.get('daemon start')?.includes('--log-to-file'), 'hidden options stay hidden');
});

t.test('bash takes the script and completes with it', async (t) => {
  await createProgram(context).parseAsync(['node', 'sallyport', 'completion', 'bash']);
  const script = `${written.join('')}
COMP_WORDS=(sallyport policy set-default ba); COMP_CWORD=3
_sallyport_complete
echo "\${COMPREPLY[@]}"`;
  const ran = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  t.equal(ran.stdout.trim(), 'balanced', ran.stderr);
});
