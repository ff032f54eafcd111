// Where the value of a secret comes from: a person who types it unseen, a pipe, a command, or, against
// advice, the command line.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { Context } from './context.ts';
import { instead } from './globals.ts';
import { askSecret } from './prompt.ts';
import { refreshInterval } from './values.ts';

export type ValueOptions = {
  /** On the command line: `-t`, or `--value`. */
  readonly token?: string;
  readonly value?: string;
  readonly command?: string;
  /** Milliseconds, 0 for on demand. */
  readonly refresh?: number;
  readonly ref?: string;
  readonly passwordStdin?: boolean;
  readonly verify: boolean;
};

/** What the control API is told of it. */
export type ValueBody = {
  readonly value?: string;
  readonly command?: string;
  readonly refresh_ms?: number;
  readonly verify?: boolean;
};

const POLICIES = ['if-sentinel-or-absent', 'if-sentinel', 'always'];

export function policyOption(): Option {
  const option = new Option('--policy <when>', 'when it is added to a request; default: the first');
  return option.choices(POLICIES);
}

/** Adds the options that all secrets have in common. */
export function withValue(command: Command): Command {
  return command
    .option('-t, --token <value>', 'the value; visible to others in the list of processes')
    .option('--command <command>', 'a command line that writes the value, run by the daemon')
    .option('--refresh <duration>', 'how long its value serves, or on-demand', refreshInterval)
    .option('--no-verify', 'do not try the command out now')
    .addOption(new Option('--ref <reference>', 'a reference into a password manager').hideHelp());
}

/** Refuses what cannot be meant, before anything is asked or started. @throws SALLYPORT_USAGE */
export function checkSource(context: Context, options: ValueOptions): void {
  if (options.ref !== undefined) {
    throw usage(
      `no resolver for --ref is available yet; use --command, such as --command "op read ${options.ref}"`,
    );
  }
  const { token, value, command, passwordStdin } = options;
  const given = [token, value, command, passwordStdin].filter((one) => one !== undefined);
  if (given.length > 1) throw usage('--token, --value, --command and stdin exclude each other');
  if (options.refresh !== undefined && command === undefined) {
    throw usage('--refresh is for --command alone');
  }
  if ((token ?? value) === undefined) return;
  context.err(
    'WARNING: a value on the command line can be seen by every user of this machine in the list of processes, and stays in the history of the shell; pipe it in instead\n',
  );
}

/**
 * @param what  the question to a person, such as `Secret for github:`.
 * @throws SALLYPORT_USAGE when nobody can be asked and nothing is piped in.
 */
export async function readValue(
  context: Context,
  options: ValueOptions,
  what: string,
): Promise<ValueBody> {
  const { token, value = token, command, refresh, verify, passwordStdin } = options;
  if (command !== undefined) {
    return { command, verify, ...(refresh === undefined ? {} : { refresh_ms: refresh }) };
  }
  if (value !== undefined) return { value };
  if (context.terminal !== null && !passwordStdin) {
    return { value: await askSecret(what, context.terminal) };
  }
  if (context.stdin === null) {
    const message = 'no value is piped in, and nobody can be asked for it';
    throw new SallyportError('SALLYPORT_USAGE', message, { hint: instead(context, '< FILE') });
  }
  const piped = (await context.stdin()).replace(/\r?\n$/, '');
  if (piped === '') throw usage('stdin is empty; pipe the value in, or use --command');
  return { value: piped };
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
