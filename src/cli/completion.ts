// `completion bash|zsh|fish`: prints a script for the shell. The words come from the commands
// themselves, so a new command completes without a line here.
import { Argument, type Command } from 'commander';
import type { Context } from './context.ts';

export function addCompletionCommand(program: Command, context: Context): void {
  program
    .command('completion')
    .description('print a completion script: source <(sallyport completion bash)')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action((shell: string) => context.out(scriptOf(shell, program, context.program)));
}

type Words = { readonly path: string; readonly words: readonly string[] };

/** What may follow each command: its sub-commands, its options, the values of its arguments. */
export function completions(command: Command, path = ''): Words[] {
  const inner = command.commands.map((sub) => sub.name());
  const values = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  const options = command.options.filter(({ hidden }) => !hidden).map(({ long }) => long ?? '');
  const own = { path, words: [...inner, ...values, ...options, '--help'] };
  return [
    own,
    ...command.commands.flatMap((sub) => completions(sub, `${path} ${sub.name()}`.trim())),
  ];
}

function scriptOf(shell: string, program: Command, name: string): string {
  const table = completions(program);
  if (shell === 'fish') return fish(table, name);
  const bash = bashFunction(table, name);
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash}` : bash;
}

function bashFunction(table: readonly Words[], name: string): string {
  const cases = table
    .map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`)
    .join('\n');
  return `_${name}_complete() {
  local path='' word words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in -*) continue ;; esac
    path="\${path:+$path }$word"
  done
  case $path in
${cases}
    *) words='' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _${name}_complete ${name}
`;
}

function fish(table: readonly Words[], name: string): string {
  const lines = table.map(({ path, words }) => {
    const before =
      path === ''
        ? '__fish_use_subcommand'
        : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`;
    return `complete -c ${name} -f -n '${before}' -a '${words.join(' ')}'`;
  });
  return `${lines.join('\n')}\n`;
}
