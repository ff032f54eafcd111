// `daemon start|stop|restart|status|log-level`.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { DRAIN_TIMEOUT_MS } from '../base/limits.ts';
import { ControlClient } from '../control/client.ts';
import { readClientCertificates, splitClientCertificate } from '../control/client-certificates.ts';
import { type DaemonOptions, runDaemon } from '../control/daemon.ts';
import { createFolders } from '../control/paths.ts';
import { LOG_LEVELS } from '../control/services.ts';
import { waitUntilStopped } from '../control/spawn.ts';
import { KEY_PLACES, type KeyPlace } from '../credentials/key-store.ts';
import { PRESET_NAMES } from '../policy/presets.ts';
import { parseResources } from '../policy/resource.ts';
import { type Context, isRunning, printJson, startDetached, withDaemon } from './context.ts';
import { type GovernanceFlags, governanceOf, withGovernanceOptions } from './governance-options.ts';
import {
  rememberedStart,
  rememberStart,
  type StartOption,
  withRemembered,
} from './start-options.ts';
import { duration, workerCount } from './values.ts';

/** How long a command waits for a daemon to drain and end. */
export const STOP_WAIT_MS = DRAIN_TIMEOUT_MS + 10_000;

type StartOptions = GovernanceFlags & {
  readonly detach?: boolean;
  readonly logToFile?: boolean;
  readonly policy?: string;
  readonly listen?: string;
  readonly workers?: number;
  readonly defaultSandbox?: string;
  readonly drainTimeout?: number;
  readonly addressGuard?: 'strict' | 'docker';
  readonly via?: boolean;
  readonly forwardedFor?: boolean;
  readonly dnsServer?: string[];
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  readonly deny?: 'inside' | 'connect';
  readonly bypass?: string[];
  readonly keyStore?: KeyPlace;
  readonly upstreamCa?: string[];
  readonly clientCert?: string[];
  readonly apiListen?: string;
  readonly apiTokenFile?: string;
};

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
      warnOfCertificates(context, given);
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
      warnOfCertificates(context, options);
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

function withStartOptions(command: Command): Command {
  return withGovernanceOptions(command)
    .option('-d, --detach', 'in the background; returns when the port accepts')
    .addOption(new Option('--log-to-file').hideHelp())
    .addOption(
      new Option('--policy <preset>', 'choose this policy if none was chosen').choices([
        ...PRESET_NAMES,
      ]),
    )
    .option(
      '--listen <host:port>',
      'where the proxy listens (default 127.0.0.1:3128; port 0 for any)',
    )
    .option('--workers <n>', 'worker threads (default: the number of cores)', workerCount)
    .option('--default-sandbox <name>', 'take unauthenticated loopback clients for this sandbox')
    .option(
      '--drain-timeout <duration>',
      'how long a stop waits for what runs, such as 30s',
      duration,
    )
    .addOption(
      new Option('--address-guard <guard>', 'strict, or as loose as sbx').choices([
        'strict',
        'docker',
      ]),
    )
    .option('--via', 'add a Via field')
    .option('--forwarded-for', 'add an X-Forwarded-For field')
    .option('--dns-server <ip[:port]>', 'ask this name server (repeatable)', collect)
    .addOption(
      new Option(
        '--deny <where>',
        'tell a refused CONNECT by its status, or inside TLS to sandboxes that trust the CA',
      ).choices(['connect', 'inside']),
    )
    .option(
      '--bypass <resource>',
      'never intercept this host: it pins certificates, say (repeatable)',
      collect,
    )
    .option(
      '--upstream-ca <file>',
      'trust this authority, PEM, for destinations too (repeatable)',
      collect,
    )
    .addOption(
      new Option(
        '--key-store <where>',
        'where the key that seals secrets is to be; it moves there',
      ).choices([...KEY_PLACES]),
    )
    .option(
      '--client-cert <host=cert,key>',
      'present this certificate, PEM files, to this host (repeatable)',
      collect,
    )
    .addOption(new Option('--log-level <level>', 'how much to log').choices([...LOG_LEVELS]))
    .option('--api-listen <host:port>', 'the control API over TCP too; needs --api-token-file')
    .option('--api-token-file <file>', 'file with the bearer token for it');
}

function collect(one: string, all: string[] = []): string[] {
  return [...all, one];
}

const OWN_OPTIONS: ReadonlySet<string> = new Set(['detach', 'logToFile']);

/** The options of a start as given, in a form that a process in another folder understands. */
function givenOptions(command: Command): StartOption[] {
  return command.options.flatMap((option): StartOption[] => {
    const key = option.attributeName();
    const value: unknown = command.getOptionValue(key);
    const long = option.long ?? '';
    if (value === undefined || OWN_OPTIONS.has(key)) return [];
    if (Array.isArray(value)) {
      return value.map((one): StartOption => [long, forwardedValue(key, one)]);
    }
    return value === true ? [[long]] : [[long, forwardedValue(key, value)]];
  });
}

const FILE_OPTIONS: ReadonlySet<string> = new Set([
  'apiTokenFile',
  'governanceKey',
  'governanceTokenFile',
  'upstreamCa',
]);
const DURATIONS: ReadonlySet<string> = new Set([
  'drainTimeout',
  'governanceGrace',
  'governanceInterval',
]);

function forwardedValue(key: string, value: unknown): string {
  if (DURATIONS.has(key)) return `${value}ms`;
  // It has another folder.
  if (key === 'clientCert') {
    const { host, files } = splitClientCertificate(String(value));
    return files.length === 0 ? String(value) : `${host}=${files.map((file) => resolve(file))}`;
  }
  return FILE_OPTIONS.has(key) ? resolve(String(value)) : String(value);
}

/** The daemon says it in its log alone. @throws SALLYPORT_USAGE before anything is stopped or started */
function warnOfCertificates(context: Context, options: readonly StartOption[]): void {
  const valuesOf = (flag: string): string[] =>
    options.flatMap(([given, value]) => (given === flag && value !== undefined ? [value] : []));
  const bypass = checkedResources(valuesOf('--bypass'));
  const given = valuesOf('--client-cert');
  const { warnings } = readClientCertificates(given, bypass, systemClock.wallMs());
  for (const warning of warnings) context.err(`WARNING: ${warning}\n`);
}

async function startInBackground(context: Context, options: readonly StartOption[]): Promise<void> {
  const started = await startDetached(context, options);
  if (started === null)
    return context.out(`Daemon is already running at ${context.paths.socket}\n`);
  const { pid, listen, workers: count } = started;
  context.out(
    `✓ Daemon started (pid ${pid}), proxy on ${listen}, ${count} worker${count === 1 ? '' : 's'}\n`,
  );
}

async function startHere(
  context: Context,
  options: StartOptions,
  given: readonly StartOption[],
): Promise<void> {
  const asked = daemonOptions(context, options);
  if (options.logToFile) return context.exitWith(await runDaemon(asked, context.env));
  const client = new ControlClient(context.paths.socket);
  const running = await isRunning(client).finally(() => client.close());
  if (running) return context.out(`Daemon is already running at ${context.paths.socket}\n`);
  createFolders(context.paths);
  const before = rememberedStart(context.paths);
  rememberStart(context.paths, given);
  const exitCode = await runDaemon(asked, context.env);
  if (exitCode !== 0) rememberStart(context.paths, before); // What cannot start is not repeated.
  context.exitWith(exitCode);
}

function daemonOptions(context: Context, options: StartOptions): DaemonOptions {
  const { policy, drainTimeout, dnsServer, upstreamCa, clientCert, ...others } = options;
  const { apiListen, apiTokenFile, ...rest } = others;
  const bypass = checkedResources(rest.bypass ?? []);
  const nowMs = systemClock.wallMs();
  const { certificates, warnings } = readClientCertificates(clientCert ?? [], bypass, nowMs);
  return {
    ...rest,
    version: context.version,
    preset: policy,
    drainTimeoutMs: drainTimeout,
    ...(dnsServer !== undefined && { dnsServers: dnsServer }),
    upstreamAuthorities: (upstreamCa ?? []).map(authorityIn),
    clientCertificates: certificates,
    warnings,
    bypass,
    api: apiOf(apiListen, apiTokenFile),
    governance: governanceOf(options),
  };
}

/** @throws SALLYPORT_USAGE for a file that holds no certificate */
function authorityIn(file: string): string {
  try {
    const pem = readFileSync(file, 'utf8');
    new X509Certificate(pem);
    return pem;
  } catch (cause) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      `--upstream-ca ${file} holds no certificate (PEM)`,
      {
        cause,
      },
    );
  }
}

/** @throws SALLYPORT_POLICY_INVALID naming every fault */
function checkedResources(given: readonly string[]): string[] {
  return given.flatMap((one) => parseResources(one).map(({ text }) => text));
}

function apiOf(listen: string | undefined, tokenFile: string | undefined): DaemonOptions['api'] {
  if (listen === undefined && tokenFile === undefined) return undefined;
  if (listen === undefined || tokenFile === undefined) {
    throw new SallyportError('SALLYPORT_USAGE', '--api-listen and --api-token-file go together');
  }
  try {
    return { listen, token: readFileSync(tokenFile, 'utf8').trim() };
  } catch (cause) {
    throw new SallyportError('SALLYPORT_USAGE', `--api-token-file ${tokenFile} cannot be read`, {
      cause,
    });
  }
}

async function stop(context: Context, drainTimeoutMs: number | undefined): Promise<void> {
  const client = new ControlClient(context.paths.socket);
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

type Status = {
  readonly socket: string;
  readonly listen: string;
  readonly workers: number;
  readonly generation: number;
  readonly rules: number;
  readonly preset: string | null;
  readonly log: string | null;
  readonly audit: string;
  readonly key_place: string | null;
  readonly key_file: string;
  readonly key_problem: string | null;
};

async function status(context: Context, json: boolean): Promise<void> {
  const client = new ControlClient(context.paths.socket);
  try {
    if (!(await isRunning(client))) {
      if (json) printJson(context, { status: 'stopped', socket: context.paths.socket });
      else context.out(`Status: stopped\nStart it with: ${context.program} daemon start -d\n`);
      return context.exitWith(1);
    }
    const found = await client.get<Status>('/daemon/status');
    if (json) return printJson(context, { status: 'running', ...found });
    const lines = [
      'Status: running',
      `Socket: ${found.socket}`,
      `Proxy:  ${found.listen} (${found.workers} workers)`,
      `Policy: ${found.preset ?? 'not chosen'} (${found.rules} rules, generation ${found.generation})`,
      `Audit:  ${found.audit}`,
      `Logs:   ${found.log ?? 'standard output'}`,
      `Key:    ${keyText(found)}`,
    ];
    context.out(`${lines.join('\n')}\n`);
  } finally {
    await client.close();
  }
}

function keyText({ key_place: place, key_file: file, key_problem: problem }: Status): string {
  if (problem !== null || place === null) return problem ?? 'made with the first secret';
  return place === 'file' ? file : 'in the keychain';
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
