// One running instance: store, policy, workers, audit and API put together, in the order in which
// each needs the one before, and taken apart in reverse. Touches no signal and no environment.
import { chmodSync, rmSync } from 'node:fs';
import type { Logger } from 'pino';
import { AUDIT_CLOSE_MS, WORKERS_MAX } from '../base/limits.ts';
import { listenError } from '../base/listen-error.ts';
import { Credentials } from '../credentials/inject.ts';
import type { KeyPlace, KeyStore } from '../credentials/key-store.ts';
import { Lane } from '../matcher/lane.ts';
import { Publisher } from '../matcher/publish.ts';
import type { Semantics } from '../policy/precedence.ts';
import type { Outcome } from '../proxy/exchange.ts';
import { askerOf, Resolver } from '../proxy/resolve.ts';
import { WorkerPool } from '../workers/pool.ts';
import { buildServer } from './api/server.ts';
import type { DaemonStatus, LogLevels, Services } from './api/services.ts';
import type { Audit } from './audit/audit.ts';
import { Decisions } from './audit/decided.ts';
import { recordsStatus } from './audit/records-status.ts';
import type { AuditSettings } from './audit/settings.ts';
import { Browser } from './browser.ts';
import { type Closing, closeAll, once } from './closing.ts';
import { Configuration, type ProxyOptions } from './configuration.ts';
import { type GovernanceOptions, startGovernance } from './governance/governance.ts';
import { governanceFacts } from './governance/status.ts';
import type { GovernanceSync } from './governance/sync.ts';
import { type Managed, manage } from './managed.ts';
import type { PolicyService } from './policy/policy.ts';
import { sandboxVariables } from './sandbox-variables.ts';
import { formatListen, type Sandboxes } from './sandboxes.ts';
import { effectsOf, ensureSandbox } from './settings/effect.ts';
import { LiveSettings } from './settings/live.ts';
import { openState, type State } from './state.ts';
import { describe, type Surroundings } from './surroundings.ts';

export type InstanceOptions = ProxyOptions & {
  /** Chosen if none was chosen before. */
  readonly preset?: string | undefined;
  /** How rules are taken; absent: as before. */
  readonly semantics?: Semantics | undefined;
  /** Where the key of the secrets shall be. */
  readonly keyStore: KeyPlace;
  readonly audit: AuditSettings;
  /** How long rows of the log are kept. */
  readonly logKeepMs: number;
  /** Whose policies hold here; absent: as before. */
  readonly governance?: GovernanceOptions | 'off' | undefined;
  readonly version: string;
};

export type Instance = {
  readonly policy: PolicyService;
  readonly settings: LiveSettings;
  status(): DaemonStatus;
  /**
   * Drains the workers and closes everything; what was accepted is recorded.
   *
   * @returns whether all of it could be closed; the log tells what could not.
   */
  stop(drainTimeoutMs: number): Promise<boolean>;
};

/**
 * Starts everything.
 *
 * @returns when the proxy and the API accept connections.
 * @throws SALLYPORT_STORE_CORRUPT, SALLYPORT_VAULT_UNREADABLE for a key file that cannot be used,
 *   SALLYPORT_CONFLICT for an address in use, SALLYPORT_USAGE
 */
export async function startInstance(
  options: InstanceOptions,
  around: Surroundings,
): Promise<Instance> {
  const closing: Closing = [];
  try {
    return await start(options, around, closing);
  } catch (error) {
    await closeAll(closing, around.logger);
    throw error;
  }
}

async function start(
  options: InstanceOptions,
  around: Surroundings,
  closing: Closing,
): Promise<Instance> {
  const startedMs = around.clock.monotonicMs();
  const state = await openState(options, around, closing);
  const publisher = await Publisher.create();
  const configuration = new Configuration(options, around);
  const managed = await manage(state, publisher, configuration, around, closing);
  const { policy, sandboxes, secrets, configure } = managed;
  await prepare(options, policy, sandboxes, around.logger);
  const { trusted } = configuration;
  const governed = { managed, store: state.store, trusted };
  const sync = await startGovernance(options.governance, governed, around, closing);

  const pool = await startPool(configuration, publisher, managed, state, around);
  managed.workers.pool = pool;
  state.audit.onAvailable = (available) => {
    pool.auditAvailable = available;
  };
  pool.auditAvailable = state.audit.available; // It may have failed before there was anybody to tell.
  const drain = once((timeoutMs: number) => pool.drain(timeoutMs));
  closing.push(() => drain(0));
  configuration.port = pool.port;
  await configure(); // Its own addresses are known only now.
  secrets.start();

  const status = statusOf(options, around, {
    startedMs,
    configuration,
    pool,
    policy,
    sandboxes,
    keys: state.keys,
    audit: state.audit,
  });
  const matcher = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  const settings = settingsOf(managed, configuration, around, closing);
  const parts = { managed, sync, state, matcher, configuration, settings, around, status };
  const services = servicesOf(parts);
  await listenApi(services, configuration, around, closing);
  return {
    policy: managed.policy,
    settings,
    status,
    stop: once((drainTimeoutMs) => end(drainTimeoutMs, drain, state, closing, around.logger)),
  };
}

type ServiceParts = {
  readonly managed: Managed;
  readonly sync: GovernanceSync | null;
  readonly state: State;
  readonly matcher: Lane;
  readonly configuration: Configuration;
  readonly settings: LiveSettings;
  readonly around: Surroundings;
  readonly status: Services['status'];
};

/** What the control API works with. */
function servicesOf(parts: ServiceParts): Services {
  const { managed, sync, state, configuration, settings, around } = parts;
  const { policy, mounts, approvals, sandboxes, secrets, authority, trust, configure } = managed;
  return {
    policy,
    mounts,
    approvals,
    browser: browserOf(parts),
    sandboxes,
    secrets,
    authority,
    trust,
    settings,
    get defaultSandbox() {
      return configuration.live.defaultSandbox ?? null;
    },
    variablesOf: (number) => sandboxVariables(state.store.secrets.all(), number),
    matcher: parts.matcher,
    get addressGuard() {
      return configuration.live.addressGuard;
    },
    governance: () => governanceFacts(policy.governance, sync?.state ?? null),
    refreshGovernance: async () => sync?.refresh(),
    get bypass() {
      return configuration.live.bypass;
    },
    interception: () => ({
      credentials: new Credentials(secrets.bindings()),
      certificateFor: configuration.certificateFor,
      bypass: configuration.live.bypass,
      deny: configuration.live.deny,
    }),
    log: state.log,
    followers: state.followers,
    shared: () => configuration.listen,
    status: parts.status,
    logLevels: () => configuration.logLevels,
    setLogLevels: async (levels) => {
      setLogLevels(levels, configuration, around);
      await configure();
    },
    stop: around.onStop,
    report: (error) =>
      around.logger.error({ error: describe(error) }, 'a request to the control API failed'),
  };
}

/** The settings, with what they do; edits of their file are followed from here on. */
function settingsOf(
  { policy, sandboxes, configure }: Managed,
  configuration: Configuration,
  around: Surroundings,
  closing: Closing,
): LiveSettings {
  const settings = new LiveSettings({
    started: around.settings,
    clock: around.clock,
    effects: effectsOf({
      configuration,
      policy,
      sandboxes,
      setLogLevels: (levels) => setLogLevels(levels, configuration, around),
    }),
    configure,
    report: (error) =>
      around.logger.error({ error: describe(error) }, 'the settings stay as they were'),
  });
  closing.push(settings.watch());
  return settings;
}

function setLogLevels(
  levels: LogLevels,
  configuration: Configuration,
  { logger }: Surroundings,
): void {
  configuration.logLevels = levels;
  logger.level = levels.general;
}

function browserOf({ managed, state, matcher, configuration, around }: ServiceParts): Browser {
  return new Browser({
    matcher,
    scopes: managed.sandboxes,
    addressGuard: () => configuration.live.addressGuard,
    resolver: new Resolver(around.clock, askerOf([])), // As the browser will ask.
    command: () => configuration.live.browserCommand,
    decisions: new Decisions(state),
    clock: around.clock,
    supportMessage: () => managed.policy.governance?.supportMessage ?? null,
  });
}

type Parts = {
  readonly startedMs: number;
  readonly configuration: Configuration;
  readonly pool: WorkerPool;
  readonly policy: PolicyService;
  readonly sandboxes: Sandboxes;
  readonly keys: KeyStore;
  readonly audit: Audit;
};

function statusOf(
  options: InstanceOptions,
  { paths, clock, pid, logFile }: Surroundings,
  { startedMs, configuration, pool, policy, sandboxes, keys, audit }: Parts,
): () => DaemonStatus {
  return () => ({
    pid,
    socket: paths.socket,
    listen: formatListen(configuration.listen),
    workers: pool.status().workers.length,
    restarts: pool.status().restarts,
    generation: policy.generation,
    rules: policy.rules.length,
    sandboxes: sandboxes.list().length,
    preset: policy.preset,
    uptime_ms: Math.round(clock.monotonicMs() - startedMs),
    version: options.version,
    log: logFile,
    audit: paths.audit,
    ...recordsStatus(audit, paths.audit, options),
    key_place: keys.status.place,
    key_file: paths.vaultKey,
    key_problem: keys.status.problem,
  });
}

/** What the command line asks to be there from the start. */
async function prepare(
  { preset, semantics, defaultSandbox }: InstanceOptions,
  policy: PolicyService,
  sandboxes: Sandboxes,
  logger: Logger,
): Promise<void> {
  if (preset !== undefined) {
    if (policy.preset === null) await policy.initialize(preset);
    else if (policy.preset !== preset) {
      logger.warn(
        { preset: policy.preset },
        'the policy was initialized before; it stays as it is',
      );
    }
  }
  if (semantics !== undefined) await policy.setSemantics(semantics);
  if (defaultSandbox !== undefined) await ensureSandbox(defaultSandbox, sandboxes);
}

async function startPool(
  configuration: Configuration,
  publisher: Publisher,
  { sandboxes, secrets, authority, approvals }: Managed,
  { audit, log, followers }: State,
  { clock, logger, reusePort }: Surroundings,
): Promise<WorkerPool> {
  if (!reusePort) logger.warn('threads cannot share a port on this platform: one worker serves');
  const records = sandboxes.records();
  try {
    return await WorkerPool.start({
      workers: configuration.workers,
      memory: publisher.memory,
      module: publisher.module,
      settings: configuration.settings(records, authority),
      sandboxes: records,
      bindings: secrets.bindings(),
      clock,
      onOutcomes: async (outcomes) => {
        log.add(outcomes);
        for (const outcome of outcomes) alertOf(outcome, logger);
        followers.publish(outcomes);
        await audit.record(outcomes);
      },
      onDemand: (id, renew) => secrets.demand(id, renew),
      onKeep: (signedIn) => secrets.keepSignedIn(signedIn),
      onApprove: (request, signal) => approvals.ask(request, signal),
      keyPairOf: configuration.certificateOf,
      onRefused: (refused) => {
        for (const { count, code, fromMs, toMs } of refused) {
          audit.refused(count, code, fromMs, toMs);
        }
      },
      onLog: (level, message, facts) => logger[level](facts, message),
      onLost: async (worker, interrupted, error) => {
        const facts = { worker, interrupted: interrupted.length, error: describe(error) };
        logger.error(facts, 'a worker died and is replaced');
        if (interrupted.length > 0) await audit.record(interrupted);
      },
      releaseLane: (lane) => publisher.releaseLane(lane),
    });
  } catch (cause) {
    throw notListening(cause, formatListen(configuration.listen));
  }
}

/** Somebody tries a secret where it does not go; the log of the daemon is where alerts are looked for. */
function alertOf({ code, sandbox, host, port, reason }: Outcome, logger: Logger): void {
  if (code !== 'SALLYPORT_CREDENTIAL_MISUSED') return;
  logger.warn({ alert: code, sandbox, host, port }, `alert: ${reason}`);
}

async function listenApi(
  services: Services,
  configuration: Configuration,
  { paths }: Surroundings,
  closing: Closing,
): Promise<void> {
  const unix = await buildServer(services, { kind: 'unix' });
  closing.push(() => unix.close());
  rmSync(paths.socket, { force: true }); // We hold the lock, so whoever made it is dead.
  await unix.listen({ path: paths.socket });
  chmodSync(paths.socket, 0o600);
  const { api } = configuration;
  if (api === null || api.kind === 'unix') return;
  const hosts = [formatListen(api), `localhost:${api.port}`];
  const tcp = await buildServer(services, {
    kind: 'tcp',
    token: configuration.apiToken,
    hosts: () => hosts,
  });
  closing.push(() => tcp.close());
  try {
    await tcp.listen({ host: api.host, port: api.port });
  } catch (cause) {
    throw notListening(cause, formatListen(api));
  }
}

/** The API goes on answering while the workers drain, so that `status` can tell how far they are. */
function end(
  drainTimeoutMs: number,
  drain: (timeoutMs: number) => Promise<void>,
  { audit, followers }: State,
  closing: Closing,
  logger: Logger,
): Promise<boolean> {
  audit.endIn(drainTimeoutMs + AUDIT_CLOSE_MS); // Workers end only when their records are on file.
  closing.push(
    () => followers.close(),
    () => drain(drainTimeoutMs),
  );
  return closeAll(closing, logger);
}

/** Only what is about listening is put in these words. */
function notListening(cause: unknown, place: string): unknown {
  const why = /\bE(?:ADDRINUSE|ADDRNOTAVAIL|ACCES|PERM)\b/.exec(String(cause))?.[0];
  if (why === undefined) return cause;
  return listenError(why, `cannot listen on ${place}: ${why}`, cause);
}
