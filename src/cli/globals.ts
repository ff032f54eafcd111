// Options of every command, which stand before or behind it: --no-input, --debug. What they say is kept
// in the context once the words are read; nothing is asked or done before.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { Context } from './context.ts';
import { quoted } from './variables.ts';

const GROUP = 'Global options:';

/** Adds them to a command, and to all below it. */
export function addGlobalOptions(program: Command, context: Context): void {
  addTo(program);
  program.hook('preAction', (_, action) => {
    for (let at: Command | null = action; at !== null; at = at.parent) {
      const { input, debug } = at.opts<{ input: boolean; debug?: boolean }>();
      if (!input) context.globals.noInput = true;
      if (debug) context.globals.debug = true;
    }
    const { paths, version, env } = context;
    context.debug(`${context.program} ${version}, node ${process.version}`);
    context.debug(`socket ${paths.socket}, state ${paths.state}, config ${paths.config}`);
    context.debug(`input ${inputOf(context)}, program ${env.SALLYPORT_PROGRAM ?? 'unnamed'}`);
  });
}

/** Commands that only have others below them take these too, but do not speak of them. */
function addTo(command: Command): void {
  const isGroup = command.parent !== null && command.commands.length > 0;
  for (const option of [
    new Option('--no-input', 'ask nothing: fail where it is needed'),
    new Option('-D, --debug', 'say on the error stream what is done'),
  ]) {
    command.addOption(option.helpGroup(GROUP).hideHelp(isGroup));
  }
  for (const sub of command.commands) addTo(sub);
}

function inputOf({ globals, terminal, stdin }: Context): string {
  if (globals.noInput) return 'not wanted';
  if (terminal !== null) return 'by a person';
  return stdin === null ? 'none' : 'piped';
}

/** @param added  what to add to the command, such as --force */
export function unasked(context: Context, added: string): SallyportError {
  const why = whyUnasked(context);
  return context.globals.noInput
    ? new SallyportError('SALLYPORT_USAGE', `${why}, and this asks first`, {
        hint: instead(context, added),
      })
    : new SallyportError('SALLYPORT_USAGE', `${why}; use ${added} to skip confirmation`);
}

export function whyUnasked({ globals }: Context): string {
  return globals.noInput ? '--no-input is given' : 'stdin is not a terminal';
}

/** The command as it was typed, so that it need not ask. */
export function instead({ program, words }: Context, added: string): string {
  const same = words.filter((word) => word !== '--no-input').map(shellWord);
  return `Run instead: ${[program, ...same, added].join(' ')}`;
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : quoted(word);
}
