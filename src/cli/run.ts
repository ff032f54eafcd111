// `run -- COMMAND`: a command with the environment of a sandbox. The sandbox is its own, and gone
// when the command has ended, unless one is named. This isolates nothing: it is a convenience.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { SandboxIssue } from '../control/api/schemas.ts';
import type { Env } from '../control/paths.ts';
import type { Kit } from '../policy/kit.ts';
import { type Context, withDaemon } from './context.ts';
import { type EnvironmentOptions, findEnvironment, TOKEN_VARIABLE } from './environment.ts';
import { kitOf } from './kit.ts';
import { ensureInitialized } from './setup.ts';
import { eachOf } from './values.ts';
import type { Variables } from './variables.ts';

type Options = {
  readonly sandbox?: string;
  readonly rotate?: boolean;
  readonly quiet?: boolean;
  readonly kit?: string[];
};

/** When the command was not even begun, as env and docker run have it. */
export const EXIT_NOT_RUN = 125;
const EXIT_NOT_EXECUTABLE = 126;
const EXIT_NOT_FOUND = 127;
const EXIT_SIGNAL = 128;

const NAME_BYTES = 6; // As many runs at a time as anybody has do not meet.

const NOT_ISOLATED = `Nothing is isolated yet: the command finds the proxy in its environment, and a program that does not look
there goes around it. --quiet leaves this out.
`;

export function addRunCommand(program: Command, context: Context): void {
  program
    .command('run')
    .argument('<command...>', 'the command and its arguments')
    .description('run a command with the environment of a sandbox; isolates nothing yet')
    .option('--sandbox <name>', 'as this sandbox; without it, as one that is removed afterwards')
    .option('--rotate', 'give it a new token; the old one is refused from then on')
    .option('--kit <file>', 'a kit whose network rules its own sandbox has (repeatable)', eachOf)
    .option('--quiet', 'do not say that nothing is isolated')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The exit code is that of the command, 128+n when signal n ended it; ${EXIT_NOT_RUN} when it was not begun,
${EXIT_NOT_EXECUTABLE} and ${EXIT_NOT_FOUND} when it cannot be executed or found.

Examples:
  $ sallyport run -- npm ci
  $ sallyport run --kit docs-kit.yaml -- npm ci
  $ SALLYPORT_TOKEN=... sallyport run --sandbox build -- make test
`,
    )
    .action((words: string[], options: Options) => run(context, words, options));
}

type Running = {
  child: ChildProcess | null;
  /** Number of the first signal that came; 0 before. */
  signal: number;
};

type Exit = [code: number | null, signal: NodeJS.Signals | null];

/** @throws SALLYPORT_DAEMON_UNREACHABLE, SALLYPORT_POLICY_UNINITIALIZED, SALLYPORT_USAGE, and for a kit what kitOf does */
async function run(context: Context, words: readonly string[], options: Options): Promise<void> {
  const kit = await kitOf(context, options.kit ?? []);
  if (kit !== null && options.sandbox !== undefined) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      '--kit is for a sandbox of its own; leave out --sandbox',
    );
  }
  const running: Running = { child: null, signal: 0 };
  // Held until the sandbox is gone: its token must not outlive the command.
  const release = context.onInterrupt((exitCode) => {
    const signal = exitCode - EXIT_SIGNAL;
    if (running.signal === 0) running.signal = signal;
    // A terminal sends Ctrl-C to the command too; sent on, it would count as a second one.
    const isTyped = signal === constants.signals.SIGINT && context.stdin === null;
    if (!isTyped) running.child?.kill(signal);
  });
  try {
    await withDaemon(context, (client) => ensureInitialized(context, client), 'must-run');
    const own = options.sandbox === undefined ? await register(context, kit) : null;
    try {
      const variables = await variablesOf(context, own === null ? options : own);
      if (!options.quiet) context.err(NOT_ISOLATED);
      context.exitWith(await exitCodeOf(context, words, variables, running));
    } finally {
      if (own !== null) await remove(context, own.sandbox);
    }
  } finally {
    release();
  }
}

function register(context: Context, kit: Kit | null): Promise<{ sandbox: string; token: string }> {
  const name = `run-${randomBytes(NAME_BYTES).toString('hex')}`;
  return withDaemon(
    context,
    async (client) => {
      const { proxy_url } = await client.post<SandboxIssue>('/sandbox', {
        name,
        ...(kit !== null && { kit }),
      });
      return { sandbox: name, token: new URL(proxy_url).password };
    },
    'must-run',
  );
}

function variablesOf(context: Context, options: EnvironmentOptions): Promise<Variables> {
  return withDaemon(
    context,
    async (client) => (await findEnvironment(context, client, options)).variables,
    'must-run',
  );
}

/** What the command did stands, whether or not its sandbox can be removed. */
async function remove(context: Context, name: string): Promise<void> {
  try {
    await withDaemon(context, (client) => client.delete(`/sandbox/${name}`), 'must-run');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const next = `${context.program} sandbox rm ${name}`;
    context.err(`Sandbox ${name} could not be removed: ${why}\nRemove it with: ${next}\n`);
  }
}

/** Ours before what is there, but for options of Java, where ours come behind. */
function environmentWith(env: Env, variables: Variables): Env {
  const { [TOKEN_VARIABLE]: _, ...inherited } = env;
  const java = [env.JAVA_TOOL_OPTIONS, variables.JAVA_TOOL_OPTIONS];
  const JAVA_TOOL_OPTIONS = java.filter((options) => options !== undefined).join(' ');
  return { ...inherited, ...variables, JAVA_TOOL_OPTIONS };
}

/** Runs the command to its end, unless a signal came before it was begun. */
async function exitCodeOf(
  context: Context,
  [command = '', ...words]: readonly string[],
  variables: Variables,
  running: Running,
): Promise<number> {
  if (running.signal !== 0) return EXIT_SIGNAL + running.signal;
  try {
    const env = environmentWith(context.env, variables);
    running.child = spawn(command, words, { env, stdio: 'inherit' });
    const [code, signal] = (await once(running.child, 'exit')) as Exit;
    return code ?? EXIT_SIGNAL + constants.signals[signal ?? 'SIGKILL'];
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    context.err(`ERROR: ${command} cannot be run: ${why}\n`);
    return why === 'ENOENT' ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
  }
}
