// `completion bash|zsh|fish`: prints a script for the shell. The words come from the commands
// themselves, so a new command completes without a line here.
import { Argument, type Command, type Option } from 'commander';
import type { Context } from './context.ts';

export function addCompletionCommand(program: Command, context: Context): void {
  program
    .command('completion')
    .description(`print a completion script: source <(${context.program} completion bash)`)
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(${context.program} completion bash)                    also zsh
  $ ${context.program} completion fish | source
`,
    )
    .action((shell: string) => context.out(scriptOf(shell, program, context.program)));
}

type Words = {
  readonly path: string;
  readonly words: readonly string[];
  /** Options that take a value, with the values they may have; none for what only the user knows. */
  readonly values: readonly (readonly [option: string, values: readonly string[]])[];
};

/** What may follow each command: its sub-commands, its options, the values of both. */
export function completions(command: Command, path = ''): Words[] {
  const inner = command.commands.map((sub) => sub.name());
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  const options = command.options.filter(({ hidden }) => !hidden);
  const long = options.map((option) => option.long ?? '');
  const own = {
    path,
    words: [...inner, ...choices, ...long, '--help'],
    values: options.filter(({ required }) => required).flatMap(valuesOf),
  };
  return [own, ...command.commands.flatMap((sub) => ofSubcommand(sub, path))];
}

/** By each of its names. */
function ofSubcommand(sub: Command, path: string): Words[] {
  const names = [sub.name(), ...sub.aliases()];
  return names.flatMap((name) => completions(sub, `${path} ${name}`.trim()));
}

function valuesOf({ short, long, argChoices = [] }: Option): [string, string[]][] {
  return [short, long].flatMap((name) => (name === undefined ? [] : [[name, argChoices]]));
}

function scriptOf(shell: string, program: Command, name: string): string {
  const table = completions(program);
  if (shell === 'fish') return fish(table, name);
  const walk = bashFunction(table, name);
  const register = `complete -o default -F _${name}_complete ${name}\n`;
  return shell === 'zsh' ? `${BASH_IN_ZSH}${walk}${COMPINIT}${register}` : walk + register;
}

const BASH_IN_ZSH = 'autoload -U +X bashcompinit && bashcompinit\n';
/** Folders that others may write to are passed over, without a question. */
const COMPINIT = '(( $+functions[compdef] )) || { autoload -U compinit && compinit -i; }\n';

/**
 * Words that name no command are arguments, and are passed over; file names are completed where
 * nothing else is. No variable is called path or words: these are zsh's own. Of --option=value bash
 * makes three words, zsh one.
 */
function bashFunction(table: readonly Words[], name: string): string {
  const known = table.map(({ path }) => path).filter((path) => path !== '');
  const cases = table.map(({ path, words }) => `    '${path}') given='${words.join(' ')}' ;;`);
  const values = valuesIn(table).map(
    ([place, choices]) => `    '${place}') given='${choices.join(' ')}' ;;`,
  );
  return `_${name}_complete() {
  local at='' given='' front='' next i
  local now="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${at:+$at }\${COMP_WORDS[i]}"
    case $next in
    ${known.map((path) => `'${path}'`).join('|')}) at=$next ;;
    esac
  done
  case $now in
  '=') now='' ;;
  --*=*) before=\${now%%=*} front=\${now%%=*}= ;;
  *) if [ "$before" = '=' ]; then before="\${COMP_WORDS[COMP_CWORD - 2]}"; fi ;;
  esac
  case "$at $before" in
${values.join('\n')}
    *)
  case $at in
${cases.join('\n')}
  esac ;;
  esac
  given=" $given"
  COMPREPLY=($(compgen -W "\${given// / $front}" -- "$now"))
}
`;
}

function valuesIn(table: readonly Words[]): (readonly [string, readonly string[]])[] {
  return table.flatMap(({ path, values }) =>
    values.map(([option, choices]) => [`${path} ${option}`, choices] as const),
  );
}

/** The same walk; file names are left out where a sub-command has to stand. */
function fish(table: readonly Words[], name: string): string {
  const groups = table.filter(({ path }) => table.some((one) => one.path.startsWith(`${path} `)));
  const inGroup = ['', ...groups.map(({ path }) => path)].map((path) => `'${path}'`).join(' ');
  const known = table.map(({ path }) => `'${path}'`).join(' ');
  return `function __${name}_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    contains -- "$next" ${known}; and set at "$next"
  end
  echo $at
end
function __${name}_words
  switch "$argv"
${fishCases(table.map(({ path, words }) => [path, words]))}
  end
end
function __${name}_values
  switch "$argv"
${fishCases(valuesIn(table))}
    case '*'
      return 1
  end
end
function __${name}_complete
  set -l at (__${name}_at)
  set -l before (commandline -opc)[-1]
  set -l now (commandline -ct)
  set -l front ''
  set -l given
  set -l files yes
  if string match -qr '^--[^=]+=' -- $now
    set -l parts (string split -m 1 '=' -- $now)
    set front "$parts[1]="
    set now $parts[2]
    set given (__${name}_values $at $parts[1])
  else if not set given (__${name}_values $at $before)
    set given (__${name}_words $at)
    contains -- "$at" ${inGroup}; and set files no
  end
  set -l fitting
  for one in $given
    test (string sub -l (string length -- "$now") -- $one) = "$now"; and set -a fitting $one
  end
  if test -z "$fitting" -a $files = yes
    set fitting (__fish_complete_path "$now")
  end
  for one in $fitting
    echo $front$one
  end
end
complete -c ${name} -f -a '(__${name}_complete)'
`;
}

function fishCases(rows: readonly (readonly [place: string, words: readonly string[]])[]): string {
  return rows
    .map(([place, words]) => {
      const answer = words.length === 0 ? 'return 0' : `printf '%s\\n' ${words.join(' ')}`;
      return `    case '${place}'\n      ${answer}`;
    })
    .join('\n');
}
