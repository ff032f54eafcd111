// Whom a secret is for: all sandboxes unless --sandbox says one. The spellings of older versions still
// work, with a word about it.
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { Context } from './context.ts';

export type ScopeOptions = { readonly global?: boolean; readonly sandbox?: string };

export function withScope(command: Command): Command {
  return command
    .option('--sandbox <name>', 'for this sandbox alone')
    .option('-g, --global', 'for all sandboxes (the default)');
}

/**
 * @param words  SERVICE, or the older SANDBOX SERVICE.
 * @throws SALLYPORT_USAGE
 */
export function scopeOf(
  context: Context,
  words: readonly string[],
  { global, sandbox }: ScopeOptions,
): { readonly service: string | undefined; readonly sandbox: string | undefined } {
  if (words.length > 2) throw usage(`one service at a time, not ${words.join(', ')}`);
  const [first, second] = words;
  const positional = second === undefined ? undefined : first;
  if (global && (sandbox ?? positional) !== undefined) {
    throw usage('--global and a sandbox exclude each other');
  }
  if (sandbox !== undefined && positional !== undefined) {
    throw usage('name the sandbox once, with --sandbox');
  }
  if (global && words.length > 0) {
    context.err('Flag --global has been deprecated, secrets are for all sandboxes by default\n');
  }
  if (positional !== undefined) {
    context.err('WARNING: positional sandbox scope is deprecated, use --sandbox NAME\n');
  }
  return { service: second ?? first, sandbox: sandbox ?? positional };
}

/** What was done for how many. */
export function sayApplied(context: Context, applied: number): void {
  if (applied > 0) context.out(`Applied secret updates for ${applied} running sandbox(es)\n`);
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
