// `daemon start|stop|restart|status|log-level`.
import { Argument, type Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { DRAIN_TIMEOUT_MS } from '../base/limits.ts';
import { LOG_LEVELS } from '../control/api/services.ts';
import { runDaemon } from '../control/daemon.ts';
import { createFolders } from '../control/paths.ts';
import { instanceOptions } from '../control/settings/effect.ts';
import { Settings } from '../control/settings/settings.ts';
import { waitUntilStopped } from '../control/spawn.ts';
import {
  type Context,
  clientFor,
  isRunning,
  printJson,
  startDetached,
  withDaemon,
} from './context.ts';
import {
  givenOptions,
  givenSettings,
  rememberedSettings,
  type StartOptions,
  withStartOptions,
} from './daemon-options.ts';
import { status } from './daemon-status.ts';
import {
  rememberedStart,
  rememberStart,
  type StartOption,
  withRemembered,
} from './start-options.ts';
import { duration } from './values.ts';

/** How long a command waits for a daemon to drain and end. */
export const STOP_WAIT_MS = DRAIN_TIMEOUT_MS + 10_000;

export function addDaemonCommands(program: Command, context: Context): void {
  const daemon = program.command('daemon').description('run and look after the proxy');
  withStartOptions(daemon.command('start'))
    .description('start the proxy; in the foreground unless --detach is given')
    .addHelpText(
      'after',
      `
Examples:
  $ sallyport daemon start -d --policy balanced --listen 127.0.0.1:3128
  $ sallyport daemon start --default-sandbox dev      loopback clients need no token
`,
    )
    .action(async (options: StartOptions, command: Command) => {
      const given = givenOptions(command);
      if (!options.detach) return startHere(context, options, given);
      checkStart(context, given);
      await startInBackground(context, given);
    });
  daemon
    .command('stop')
    .description('let what runs finish, then end')
    .option('--drain-timeout <duration>', 'how long to let it, such as 30s', duration)
    .action((options: { drainTimeout?: number }) => stop(context, options.drainTimeout));
  withStartOptions(daemon.command('restart'))
    .description('stop, then start in the background as before, but for the options given')
    .action(async (_: StartOptions, command: Command) => {
      const options = withRemembered(rememberedStart(context.paths), givenOptions(command));
      checkStart(context, options);
      await stop(context, undefined);
      await startInBackground(context, options);
    });
  daemon
    .command('status')
    .description('is it running, where, and with what')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) => status(context, options.json === true));
  addLogLevel(daemon, context);
}

/**
 * Whether a start can succeed, as far as that can be told; the daemon says doubts in its log alone.
 *
 * @throws SALLYPORT_SETTING_INVALID, SALLYPORT_USAGE before anything is stopped or started
 */
function checkStart({ paths, env, err }: Context, options: readonly StartOption[]): void {
  const given = rememberedSettings(options);
  const { values } = Settings.load({ path: paths.settings, env, given });
  if (values['governance.source'] === '' && Object.keys(given).some(isOfGovernance)) {
    const message = 'options of governance need --governance URL or FILE';
    throw new SallyportError('SALLYPORT_USAGE', message);
  }
  const { warnings } = instanceOptions(values, systemClock.wallMs());
  for (const warning of warnings) err(`WARNING: ${warning}\n`);
}

function isOfGovernance(key: string): boolean {
  return key.startsWith('governance.');
}

async function startInBackground(context: Context, options: readonly StartOption[]): Promise<void> {
  const started = await startDetached(context, options);
  if (started === null) return sayRuns(context, options);
  const { pid, listen, workers: count } = started;
  context.out(
    `✓ Daemon started (pid ${pid}), proxy on ${listen}, ${count} worker${count === 1 ? '' : 's'}\n`,
  );
}

/** A choice of policy is for a store without one, and so is no option of what runs. */
function sayRuns({ out, err, paths, program }: Context, options: readonly StartOption[]): void {
  out(`Daemon is already running at ${paths.socket}\n`);
  const unused = [...new Set(options.map(([flag]) => flag))].filter((flag) => flag !== '--policy');
  if (unused.length === 0) return;
  const next = `${program} daemon restart ${unused.join(' ... ')}`;
  err(
    `WARNING: it goes on as it was started, without ${unused.join(', ')}; to change that: ${next}\n`,
  );
}

async function startHere(
  context: Context,
  options: StartOptions,
  given: readonly StartOption[],
): Promise<void> {
  const asked = {
    version: context.version,
    given: givenSettings(options),
    logToFile: options.logToFile,
  };
  if (options.logToFile) return context.exitWith(await runDaemon(asked, context.env));
  const client = clientFor(context);
  const running = await isRunning(client).finally(() => client.close());
  if (running) return sayRuns(context, given);
  checkStart(context, given);
  createFolders(context.paths);
  const before = rememberedStart(context.paths);
  rememberStart(context.paths, given);
  const exitCode = await runDaemon(asked, context.env);
  if (exitCode !== 0) rememberStart(context.paths, before); // What cannot start is not repeated.
  context.exitWith(exitCode);
}

async function stop(context: Context, drainTimeoutMs: number | undefined): Promise<void> {
  const client = clientFor(context);
  try {
    if (!(await isRunning(client))) return context.out('Daemon is not running\n');
    context.out(`Stopping daemon at ${context.paths.socket}...\n`);
    await client.post(
      '/daemon/stop',
      drainTimeoutMs === undefined ? {} : { drain_timeout_ms: drainTimeoutMs },
    );
  } finally {
    await client.close();
  }
  if (!waitUntilStopped(context.paths, STOP_WAIT_MS + (drainTimeoutMs ?? 0))) {
    throw new SallyportError(
      'SALLYPORT_DAEMON_UNREACHABLE',
      'the daemon is still draining; see daemon.log',
    );
  }
  context.out('✓ Daemon stopped successfully\n');
}

type LogLevels = { readonly general: string; readonly proxy: string };

function addLogLevel(daemon: Command, context: Context): void {
  const logLevel = daemon.command('log-level').description('show or set how much is logged');
  logLevel
    .command('show', { isDefault: true })
    .description('show the levels')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) =>
      withDaemon(
        context,
        async (client) => {
          const levels = await client.get<LogLevels>('/daemon/loglevel');
          if (json) return printJson(context, levels);
          context.out(`general: ${levels.general}\nproxy: ${levels.proxy}\n`);
        },
        'must-run',
      ),
    );
  logLevel
    .command('set')
    .addArgument(new Argument('<what>').choices(['general', 'proxy', 'all']))
    .addArgument(new Argument('<level>').choices([...LOG_LEVELS]))
    .description('set a level, until the daemon ends')
    .option('--json', 'print JSON')
    .action((what: string, level: string, { json }: { json?: boolean }) =>
      withDaemon(
        context,
        async (client) => {
          const levels = what === 'all' ? { general: level, proxy: level } : { [what]: level };
          const set = await client.post<LogLevels>('/daemon/loglevel/set', levels);
          if (json) return printJson(context, set);
          context.out(`Log level of ${what} set to ${level}\n`);
        },
        'must-run',
      ),
    );
}
