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
  const script = written.join('');
  for (const [line, wanted] of [
    ['policy set-default ba', 'balanced'],
    ['policy check network api.example.com --verb', '--verbose'],
    ['policy ls my-sandbox --source k', 'kit'],
    ['policy list --inc', '--include-inactive'],
    ['policy approvals res', 'respond'],
    ['policy approval respond network:abc --option o', 'once'],
    ['policy rm network --resource policy --for', '--force'],
    ['daemon start --policy d', 'deny-all'],
    ['daemon log-level set all war', 'warn'],
    ['policy lint package', ''],
    ['sandbox phase b inst', 'install'],
    ['settings u', 'unset'],
    ['secret set github --token s', ''],
    ['run npm --he', '--help'],
    ['nonsense po', 'policy'],
  ] as const) {
    const words = ['sallyport', ...line.split(' ')];
    const asked = `${script}
COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}
_sallyport_complete
echo "\${COMPREPLY[@]}"`;
    const ran = spawnSync('bash', ['-euc', asked], { encoding: 'utf8' });
    t.equal(ran.stdout.trim(), wanted, `${line}: ${ran.stderr}`);
  }
  const files = spawnSync('bash', ['-c', `${script}\ncomplete -p sallyport`], { encoding: 'utf8' });
  t.match(files.stdout, '-o default', 'where nothing fits, files do');
});

t.test('every shell gets a script of its own, for the name it is called by', async (t) => {
  for (const [shell, pattern] of [
    ['zsh', /^autoload -U \+X bashcompinit && bashcompinit\n_sallyport_complete\(\) \{/],
    ['fish', /case 'policy approval'\n {6}printf '%s\\n' ls inspect respond --help\n/],
  ] as const) {
    written.length = 0;
    await createProgram(context).parseAsync(['node', 'sallyport', 'completion', shell]);
    t.match(written.join(''), pattern);
    t.notMatch(written.join(''), /\b(local|set -l) .*\b(path|words)=/, 'zsh has these for itself');
  }
});
