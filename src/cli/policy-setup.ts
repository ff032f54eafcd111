// `policy init`, its older name `set-default`, and `policy reset`.
import { Argument, type Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import { discardStore } from '../control/discard.ts';
import { waitUntilStopped } from '../control/spawn.ts';
import { PRESET_NAMES, type PresetName } from '../policy/presets.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { STOP_WAIT_MS } from './daemon.ts';
import { unasked } from './globals.ts';
import { askConfirmation } from './prompt.ts';
import { initialize } from './setup.ts';

export function addSetupCommands(policy: Command, context: Context): void {
  for (const name of ['init', 'set-default']) {
    policy
      .command(name)
      .description(name === 'init' ? 'choose the policy to begin with, once' : 'older name of init')
      .addArgument(new Argument('<preset>').choices([...PRESET_NAMES]))
      .option('--json', 'print JSON')
      .action((preset: PresetName, { json }: { json?: boolean }) =>
        withDaemon(context, async (client) => {
          await initialize(context, client, preset);
          if (json) printJson(context, await client.get('/policy/setup'));
        }),
      );
  }
  policy
    .command('reset')
    .description('remove all rules and the log, stop the daemon, and choose a policy anew')
    .option('-f, --force', 'do not ask')
    .option('--json', 'print JSON')
    .action((options: { force?: boolean; json?: boolean }) => reset(context, options));
}

async function reset(
  context: Context,
  { force, json }: { force?: boolean; json?: boolean },
): Promise<void> {
  if (!force && !(await confirmed(context))) return;
  try {
    await withDaemon(context, async (client) => {
      await client.post('/daemon/reset');
      // What was opened by rules that are gone has nothing to wait for.
      await client.post('/daemon/stop', { drain_timeout_ms: 0 });
    });
  } catch (error) {
    if (!isCorrupt(error) || !discardStore(context.paths, STOP_WAIT_MS)) throw error;
    context.err('The store was damaged; it is put aside as policy.db.damaged.\n');
  }
  if (!waitUntilStopped(context.paths, STOP_WAIT_MS)) {
    throw new SallyportError(
      'SALLYPORT_DAEMON_UNREACHABLE',
      'the policy is reset, but the daemon does not end',
    );
  }
  if (json) return printJson(context, { reset: true });
  context.out('Policy reset. The next command asks for a policy to begin with.\n');
}

/** A daemon does not start on a damaged store; this is the way out that its error names. */
function isCorrupt(error: unknown): boolean {
  return error instanceof SallyportError && error.code === 'SALLYPORT_STORE_CORRUPT';
}

async function confirmed(context: Context): Promise<boolean> {
  const { terminal } = context;
  if (terminal === null) throw unasked(context, '--force');
  const question = 'Remove all rules, of all sandboxes, and stop the daemon?';
  if (await askConfirmation(question, terminal)) return true;
  context.err('Cancelled\n');
  context.exitWith(1);
  return false;
}
