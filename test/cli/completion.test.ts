import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
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
    ['policy ls --format = y', 'yaml'],
    ['policy ls --format =', 'table json yaml'],
    ['-D policy check network --no-i', '--no-input'],
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

/** Lines that are typed up to a TAB, and what is there then; for fish, what is offered. */
const TYPED = [
  ['sallyport policy set-default ba', 'sallyport policy set-default balanced '],
  ['sallyport policy ls box --source k', 'sallyport policy ls box --source kit '],
  ['sallyport policy list --inc', 'sallyport policy list --include-inactive '],
  ['sallyport policy ls --format=y', 'sallyport policy ls --format=yaml '],
  [
    'sallyport policy approval respond x --option o',
    'sallyport policy approval respond x --option once ',
  ],
  ['sallyport -D policy check net', 'sallyport -D policy check network '],
  ['sallyport policy lint package.j', 'sallyport policy lint package.json '],
  ['sallyport policy package.j', 'sallyport policy package.j'],
] as const;

async function scriptFor(shell: string): Promise<string> {
  written.length = 0;
  await createProgram(context).parseAsync(['node', 'sallyport', 'completion', shell]);
  return written.join('');
}

function missing(shell: string): string | false {
  const { error } = spawnSync(shell, ['-c', 'exit'], { timeout: SHELL_MS });
  return error === undefined ? false : `there is no ${shell}: ${error.message}`;
}

const SHELL_MS = 60_000;

/** A shell of its own on a terminal; after TAB, ^Xs prints the line and empties it. */
const ZSH_DRIVER = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "source $1; source $2"
zpty -r z out '*@@ready@@*'
for line in "\${@:3}"; do
  zpty -w -n z "$line"$'\\t\\x18s'
  zpty -r z out '*@@*@@*'
  out=\${out#*@@}
  print -r -- "\${out%%@@*}"
done
zpty -d z
`;
const ZSH_SAYS = `said() { print -r -- "@@$BUFFER@@"; BUFFER= }
zle -N said
bindkey '^Xs' said
print '@@ready@@'
`;

t.test('zsh, on a terminal', { skip: missing('zsh') }, async (t) => {
  const script = await scriptFor('zsh');
  const folder = t.testdir({ script, says: ZSH_SAYS, driver: ZSH_DRIVER });
  const files = ['driver', 'script', 'says'].map((name) => join(folder, name));
  const ran = spawnSync('zsh', ['-f', ...files, ...TYPED.map(([line]) => line)], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder, ZDOTDIR: folder, TERM: 'dumb' },
    timeout: SHELL_MS,
  });
  // Where a sub-command has to stand zsh offers files, too, as bash does.
  const wanted = TYPED.slice(0, -1).map(([, line]) => line);
  t.strictSame(ran.stdout.split('\n').slice(0, wanted.length), wanted, ran.stderr);
});

t.test('fish', { skip: missing('fish') }, async (t) => {
  const folder = t.testdir({ script: await scriptFor('fish') });
  const asked = TYPED.map(([line]) => `complete -C '${line}'; echo ====`).join('\n');
  const ran = spawnSync('fish', ['--no-config', '-c', `source ${folder}/script\n${asked}`], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder, TERM: 'dumb' },
    timeout: SHELL_MS,
  });
  const offered = ran.stdout.split('====\n').slice(0, TYPED.length);
  const wanted = TYPED.map(([typed, line]) =>
    typed === line ? '' : `${line.trimEnd().split(' ').at(-1)}\n`,
  );
  t.strictSame(offered, wanted, ran.stderr);
});
