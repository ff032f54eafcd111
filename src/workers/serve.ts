// The Piscina task: one worker thread's whole life. It builds the services once, listens, serves,
// takes new settings, drains, and ends. The proxy itself is in src/proxy and knows none of this.

import { unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { threadId } from 'node:worker_threads';
import { systemClock } from '../base/clock.ts';
import { CONNECTIONS_PER_WORKER_MAX, SWEEP_MS } from '../base/limits.ts';
import { ClientCertificates, certificateId } from '../credentials/client-certificate.ts';
import { Credentials } from '../credentials/inject.ts';
import { Lane } from '../matcher/lane.ts';
import { type Address, classify, parseAddress } from '../policy/address.ts';
import { resourceMatches } from '../policy/reference.ts';
import { parseResources } from '../policy/resource.ts';
import { Connection, type Held } from '../proxy/accept.ts';
import type { ProxySettings, Serve } from '../proxy/exchange.ts';
import { type Origin, Registry } from '../proxy/identify.ts';
import { type Current, createPipeline } from '../proxy/pipeline.ts';
import { Recorder } from '../proxy/record.ts';
import { askerOf, Resolver } from '../proxy/resolve.ts';
import { Trust } from '../proxy/secure.ts';
import { sweep } from '../proxy/sweep.ts';
import type { Tick } from '../proxy/tunnel.ts';
import { Upstreams } from '../proxy/upstreams.ts';
import { ServerContexts } from '../tls/contexts.ts';
import { Questions } from './approvals.ts';
import { cutConnections, cutSandboxes } from './cut.ts';
import { Demands } from './demands.ts';
import { Inflight } from './inflight.ts';
import { KeyPairs } from './key-pairs.ts';
import { listenersOf, type Wanted } from './listeners.ts';
import type { FromWorker, SandboxRecord, ServeSettings, ServeTask, ToWorker } from './messages.ts';
import { encodeOutcomes } from './outcomes.ts';

/** Runs one worker until it is told to drain. */
export async function serve(task: ServeTask): Promise<void> {
  const worker = new Worker(task);
  await worker.run();
}

class Worker {
  readonly #task: ServeTask;
  readonly #tick: Tick = { nowMs: systemClock.monotonicMs() };
  readonly #connections = new Set<Held>();
  readonly #servers = new Map<string, { server: Server; origin: string | null }>();
  readonly #recorder: Recorder;
  readonly #certificates: ClientCertificates;
  readonly #keyPairs = new KeyPairs((resource) => this.#post({ type: 'certificate', resource }));
  readonly #upstreams: Upstreams;
  readonly #current: Current;
  #contexts: ServerContexts;
  #settings: ServeSettings;
  #sandboxes: readonly SandboxRecord[];
  readonly #pipeline: Serve;
  readonly #demands = new Demands(systemClock, (question) => this.#post(question));
  readonly #questions = new Questions((question) => this.#post(question));
  readonly #ended = Promise.withResolvers<void>();
  #listening: Promise<void> = Promise.resolve();
  #draining = false;

  constructor(task: ServeTask) {
    this.#task = task;
    this.#recorder = new Recorder(systemClock, new Inflight(task.inflight), (outcomes) => {
      const batch = encodeOutcomes(outcomes);
      this.#task.port.postMessage({ type: 'outcomes', batch } satisfies FromWorker, [
        batch.cells.buffer as ArrayBuffer,
      ]);
    });
    this.#certificates = new ClientCertificates(task.settings.clientCertificates, (resource) =>
      this.#keyPairs.ask(resource),
    );
    const trust = new Trust(systemClock, task.settings.upstreamAuthorities, this.#certificates);
    this.#recorder.available = task.auditAvailable;
    this.#upstreams = new Upstreams(trust, this.#tick);
    this.#settings = task.settings;
    this.#sandboxes = task.sandboxes;
    this.#contexts = contextsOf(task.settings);
    this.#current = {
      registry: registryOf(task.sandboxes, task.settings),
      settings: settingsOf(task.settings, this.#certificates),
      credentials: new Credentials(task.bindings),
      contextFor: (host) => this.#contexts.contextFor(host),
    };
    this.#pipeline = createPipeline({
      matcher: new Lane(task.memory, task.module, task.worker),
      resolver: new Resolver(systemClock, askerOf(task.settings.dnsServers), task.lookupsMax),
      current: this.#current,
      vetted: new WeakMap(),
      recorder: this.#recorder,
      upstreams: this.#upstreams,
      tick: this.#tick,
      hold: (connection) => this.#hold(connection),
      demand: (ids) => this.#demands.ask(ids),
      grants: {
        renew: (id) => this.#demands.renew(id),
        keep: (signedIn) => this.#demands.keep(signedIn),
      },
      approve: this.#questions.ask,
      report: (error) => this.#log('error', 'a defect ended an exchange', { error: String(error) }),
    });
  }

  async run(): Promise<void> {
    const { port, settings, sandboxes, worker } = this.#task;
    const sweeping = setInterval(() => this.#sweep(), SWEEP_MS);
    port.on('message', (message: ToWorker) => void this.#receive(message));
    try {
      await this.#listen(listenersOf(settings, sandboxes, worker));
      this.#post({ type: 'listening', port: this.#mainPort(), threadId });
      await this.#ended.promise;
    } finally {
      clearInterval(sweeping);
      for (const { server } of this.#servers.values()) server.close();
      await this.#upstreams.destroy();
      this.#recorder.flush();
      this.#postRefused();
      port.close();
    }
  }

  async #receive(message: ToWorker): Promise<void> {
    if (message.type === 'drain') return this.#drain(message.timeoutMs);
    if (message.type === 'audit') {
      this.#recorder.available = message.available;
      return;
    }
    if (message.type === 'demanded') return this.#demands.answer(message.number, message.error);
    if (message.type === 'approval') return this.#questions.answer(message);
    if (message.type === 'certified') return this.#keyPairs.answer(message.resource, message.pair);
    const { number, settings, sandboxes, bindings } = message;
    try {
      this.#current.registry = registryOf(sandboxes, settings);
      cutConnections(this.#connections, cutSandboxes(this.#sandboxes, sandboxes));
      this.#sandboxes = sandboxes;
      this.#current.settings = settingsOf(settings, this.#certificates);
      this.#current.credentials = new Credentials(bindings);
      this.#demands.forget(bindings.flatMap(({ id, value }) => (value === '' ? id : [])));
      if (!isSameTls(settings, this.#settings)) this.#contexts = contextsOf(settings);
      this.#settings = settings;
      await this.#listen(listenersOf(settings, sandboxes, this.#task.worker));
      this.#post({ type: 'configured', number, error: null });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#post({ type: 'configured', number, error: why });
    }
  }

  /** One change after the other: two that open the same listener would leave one that nobody closes. */
  #listen(wanted: readonly Wanted[]): Promise<void> {
    const listening = this.#listening.then(() => this.#openAndClose(wanted));
    this.#listening = listening.catch(() => {});
    return listening;
  }

  /** Opens the listeners that are wanted and not there, closes those that are there and not wanted. */
  async #openAndClose(wanted: readonly Wanted[]): Promise<void> {
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, { server, origin }] of this.#servers) {
      if (keys.has(key)) continue;
      server.close();
      this.#servers.delete(key);
      for (const connection of this.#connections) {
        if (connection.origin.listener === origin && origin !== null) connection.socket.destroy();
      }
    }
    for (const one of wanted) {
      if (!this.#servers.has(one.key)) await this.#open(one);
    }
  }

  #open({ key, sandbox, listen }: Wanted): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket, sandbox),
    );
    server.once('error', reject);
    const { reusePort } = this.#task.settings;
    server.listen(
      listen.kind === 'tcp'
        ? { host: listen.host, port: listen.port, reusePort, backlog: 4_096 }
        : { path: unlinked(listen.path), backlog: 4_096 },
      () => {
        server.off('error', reject);
        server.on('error', (error) =>
          this.#log('error', 'a listener failed', { error: String(error) }),
        );
        this.#servers.set(key, { server, origin: sandbox });
        resolve();
      },
    );
    return promise;
  }

  #accept(socket: Socket, listener: string | null): void {
    if (this.#draining || this.#connections.size >= CONNECTIONS_PER_WORKER_MAX) {
      socket.destroy();
      return;
    }
    const onLoopback = isLoopback(this.#task.settings.listen.host);
    const origin = new SocketOrigin(socket, listener, onLoopback);
    this.#hold(new Connection(socket, origin, this.#pipeline, this.#tick));
  }

  /** Watches over a connection until it is closed. */
  #hold(connection: Held): void {
    this.#connections.add(connection);
    if (this.#draining) connection.drain();
    connection.socket.once('close', () => {
      this.#connections.delete(connection);
      if (this.#draining && this.#connections.size === 0) this.#ended.resolve();
    });
  }

  /** Once a second: refreshes the coarse time and ends what has been silent for too long. */
  #sweep(): void {
    const nowMs = systemClock.monotonicMs();
    this.#tick.nowMs = nowMs;
    this.#postRefused();
    sweep(this.#connections, nowMs);
  }

  #postRefused(): void {
    const refused = this.#recorder.takeRefused();
    if (refused.length > 0) this.#post({ type: 'refused', refused });
  }

  #drain(timeoutMs: number): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#questions.drain();
    for (const { server } of this.#servers.values()) server.close();
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) this.#ended.resolve();
    setTimeout(() => {
      for (const connection of this.#connections) connection.socket.destroy();
    }, timeoutMs).unref();
  }

  #mainPort(): number {
    const address = this.#servers.get('main')?.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  #post(message: FromWorker): void {
    this.#task.port.postMessage(message);
  }

  #log(level: 'error' | 'warn', message: string, facts: Record<string, unknown>): void {
    this.#post({ type: 'log', level, message, facts });
  }
}

function registryOf(sandboxes: readonly SandboxRecord[], settings: ServeSettings): Registry {
  return new Registry(sandboxes, settings.defaultSandbox);
}

function contextsOf({ authority, ticketKeys }: ServeSettings): ServerContexts {
  return new ServerContexts({
    authority,
    ticketKeys: Buffer.from(ticketKeys),
    clock: systemClock,
  });
}

function isSameTls(one: ServeSettings, other: ServeSettings): boolean {
  const same = Buffer.compare(one.ticketKeys, other.ticketKeys) === 0;
  return same && one.authority.certificatePem === other.authority.certificatePem;
}

function settingsOf(settings: ServeSettings, certificates: ClientCertificates): ProxySettings {
  const own = new Set(settings.ownAddresses);
  const { addressGuard, via, forwardedFor, deny, approvals, supportMessage } = settings;
  const isOwn = (address: Address, port: number): boolean => {
    if (own.has(`${address}:${port}`)) return true;
    // A listener on every address is on all of 127.0.0.0/8, which no interface lists.
    const everywhere = own.has(`0.0.0.0:${port}`) || own.has(`:::${port}`);
    return everywhere && classify(address) === 'loopback';
  };
  const bypassOf = finderOf(settings.bypass);
  const certificateFor: ProxySettings['certificateFor'] = (host, port) => {
    const resource = certificates.towards(host, port);
    return resource === null ? null : certificateId(resource);
  };
  const facts = { addressGuard, via, forwardedFor, deny, approvals, supportMessage };
  return { ...facts, isOwn, bypassOf, certificateFor };
}

/** Finds the first of these resources, in the grammar of rules, that a host is among. */
function finderOf(bypass: readonly string[]): ProxySettings['bypassOf'] {
  const resources = bypass.flatMap((one) => parseResources(one));
  return (host, port) =>
    resources.find((resource) => resourceMatches(resource, host, port))?.text ?? null;
}

/** Asks the kernel for the peer only when a rule of identification needs it: a system call each. */
class SocketOrigin implements Origin {
  readonly listener: string | null;
  sandbox?: string;
  cut?: string;
  readonly #socket: Socket;
  readonly #onLoopback: boolean;

  constructor(socket: Socket, listener: string | null, onLoopback: boolean) {
    this.listener = listener;
    this.#socket = socket;
    this.#onLoopback = onLoopback;
  }

  get remoteAddress(): string {
    return parseAddress(this.#socket.remoteAddress ?? '') ?? '';
  }

  get loopback(): boolean {
    return this.#onLoopback || isLoopback(this.remoteAddress);
  }
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}

/** A socket file that a killed daemon left would make listen fail with EADDRINUSE. */
function unlinked(path: string): string {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  return path;
}
