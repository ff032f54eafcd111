// The daemon's side of the workers: one Piscina task each, replaced when it dies, configured and
// drained together. Policy does not pass through here; it is in the shared memory.
import { extname } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import {
  CONFIGURE_WAIT_MS_MAX,
  DNS_LOOKUPS_PER_SANDBOX_MAX,
  WORKER_RESTARTS_PER_MINUTE_MAX,
} from '../base/limits.ts';
import { listenError } from '../base/listen-error.ts';
import type { Binding } from '../credentials/binding.ts';
import type { KeyPair } from '../credentials/client-certificate.ts';
import type { SignedIn } from '../credentials/token-exchange.ts';
import type { Outcome } from '../proxy/exchange.ts';
import type { Refused } from '../proxy/record.ts';
import { Answers, type OnApprove } from './approvals.ts';
import { createInflight, Inflight } from './inflight.ts';
import { interruptedOutcome } from './interrupted.ts';
import type { FromWorker, SandboxRecord, ServeSettings, ServeTask, ToWorker } from './messages.ts';
import { decodeOutcomes } from './outcomes.ts';

/** This file's own extension: .ts from a checkout, .js from the published package. */
const EXTENSION = extname(import.meta.filename);
const SERVE_TASK = new URL(`./serve${EXTENSION}`, import.meta.url).href;

/** Short-lived sockets fill the young generation; at 16 MiB scavenges cost a tenth of a CONNECT. */
const YOUNG_GENERATION_MIB = 96;

export type PoolOptions = {
  readonly workers: number;
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly settings: ServeSettings;
  readonly sandboxes: readonly SandboxRecord[];
  readonly bindings: readonly Binding[];
  readonly clock: Clock;
  /** Resolves when the outcomes are on file; only then may their slots be used again. */
  readonly onOutcomes: (outcomes: readonly Outcome[]) => Promise<void>;
  /** Exchanges were refused, and have no record, since none could be begun. */
  readonly onRefused: (refused: readonly Refused[]) => void;
  readonly onLog: (
    level: LogLevel,
    message: string,
    facts: Readonly<Record<string, unknown>>,
  ) => void;
  /** A worker needs a fresh value of this secret; resolves when all workers have it. */
  readonly onDemand: (id: string, renew: boolean) => Promise<void>;
  /** Keeps what a sandbox signed in for; resolves when all workers have it. */
  readonly onKeep: (signedIn: SignedIn) => Promise<void>;
  /** A client certificate with its key; null when there is none. */
  readonly keyPairOf: (resource: string) => KeyPair | null;
  /** Nothing covers a target; see workers/approvals.ts. */
  readonly onApprove: OnApprove;
  /** A worker has died; `interrupted` is what it was doing, one outcome each. */
  readonly onLost: (worker: number, interrupted: readonly Outcome[], error: Error) => Promise<void>;
  /** The lane of a dead worker can be taken as left. */
  readonly releaseLane: (lane: number) => void;
};

type LogLevel = Extract<FromWorker, { type: 'log' }>['level'];

type Seat = {
  readonly worker: number;
  readonly inflight: SharedArrayBuffer;
  port: MessagePort;
  threadId: number;
  restarts: number;
  /** Settled when all messages of the present task are handled. */
  filed: Promise<void>;
};

type Waiting = {
  readonly left: Set<number>;
  readonly done: () => void;
  readonly fail: (error: Error) => void;
};

/** All workers of a daemon. */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #piscina: Piscina;
  readonly #seats: Seat[] = [];
  readonly #configurations = new Map<number, Waiting>();
  readonly #ended: Promise<void>[] = [];
  readonly #answers: Answers;
  #settings: ServeSettings;
  #sandboxes: readonly SandboxRecord[];
  #bindings: readonly Binding[];
  #auditAvailable = true;
  #configuration = 0;
  #stopping = false;
  #recentRestartsMs: number[] = [];

  private constructor(options: PoolOptions) {
    this.#options = options;
    this.#answers = new Answers(options.onApprove);
    this.#settings = options.settings;
    this.#sandboxes = options.sandboxes;
    this.#bindings = options.bindings;
    this.#piscina = new Piscina({
      filename: SERVE_TASK,
      name: 'serve',
      minThreads: options.workers,
      maxThreads: options.workers,
      concurrentTasksPerWorker: 1,
      recordTiming: false,
      atomics: 'disabled', // A thread that waits in Atomics.wait between tasks could not even end.
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
      env: {}, // A worker needs nothing of the environment, so it holds nothing of it.
    });
    this.#piscina.on('error', () => {}); // Each loss reaches us through its own task.
  }

  /**
   * Starts all workers.
   *
   * @returns when every worker accepts connections.
   * @throws the first worker's failure to listen (EADDRINUSE and the like).
   */
  static async start(options: PoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    try {
      // The first alone: it learns the port when any port will do, and fails early when none will.
      for (let worker = 0; worker < options.workers; worker++) {
        const seat = pool.#seat(worker);
        pool.#seats.push(seat);
        const port = await pool.#run(seat);
        const { host } = pool.#settings.listen;
        pool.#settings = { ...pool.#settings, listen: { kind: 'tcp', host, port } };
      }
    } catch (error) {
      pool.#stopping = true;
      await pool.#piscina.destroy();
      throw error;
    }
    return pool;
  }

  /** The port in use. */
  get port(): number {
    return this.#settings.listen.port;
  }

  status(): {
    workers: { worker: number; threadId: number; restarts: number }[];
    restarts: number;
  } {
    const workers = this.#seats.map(({ worker, threadId, restarts }) => ({
      worker,
      threadId,
      restarts,
    }));
    return { workers, restarts: workers.reduce((sum, { restarts }) => sum + restarts, 0) };
  }

  /**
   * Gives all workers other settings, sandboxes or bindings.
   *
   * @returns when every worker serves by them.
   * @throws SALLYPORT_CONFLICT when a listener cannot be opened, SALLYPORT_PUBLISH_TIMEOUT
   */
  configure(
    settings: ServeSettings,
    sandboxes: readonly SandboxRecord[],
    bindings: readonly Binding[],
  ): Promise<void> {
    const number = ++this.#configuration;
    this.#settings = { ...settings, listen: this.#settings.listen };
    this.#sandboxes = sandboxes;
    this.#bindings = bindings;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      settle();
      reject(
        new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'a worker did not take its new settings'),
      );
    }, CONFIGURE_WAIT_MS_MAX);
    const settle = (): void => {
      clearTimeout(timer);
      this.#configurations.delete(number);
    };
    const left = new Set(this.#seats.map(({ worker }) => worker));
    this.#configurations.set(number, {
      left,
      done: () => {
        settle();
        resolve();
      },
      fail: (error) => {
        settle();
        reject(error);
      },
    });
    const message = {
      type: 'configure',
      number,
      settings: this.#settings,
      sandboxes,
      bindings,
    } satisfies ToWorker;
    for (const seat of this.#seats) seat.port.postMessage(message);
    return promise;
  }

  /** Says whether records can be written; while they cannot, no exchange begins. */
  set auditAvailable(available: boolean) {
    this.#auditAvailable = available;
    for (const { port } of this.#seats) {
      port.postMessage({ type: 'audit', available } satisfies ToWorker);
    }
  }

  /**
   * Ends one worker's thread at once, as a crash would: its exchanges break and are recorded as
   * interrupted, and a new worker takes its place.
   */
  async terminate(worker: number): Promise<void> {
    const threadId = this.#seats[worker]?.threadId;
    const thread = this.#piscina.threads.find((one) => one.threadId === threadId);
    await thread?.terminate();
  }

  /** Stops accepting, lets what runs finish within the time, and ends all workers. */
  async drain(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    for (const seat of this.#seats) {
      seat.port.postMessage({ type: 'drain', timeoutMs } satisfies ToWorker);
    }
    await Promise.all(this.#ended);
    await Promise.all(this.#seats.map(({ filed }) => filed));
    await this.#piscina.destroy();
  }

  #seat(worker: number): Seat {
    const inflight = createInflight();
    return {
      worker,
      inflight,
      port: new MessageChannel().port1,
      threadId: 0,
      restarts: 0,
      filed: Promise.resolve(),
    };
  }

  /** @returns the port, once this worker accepts. */
  #run(seat: Seat): Promise<number> {
    const { port1, port2 } = new MessageChannel();
    seat.port = port1;
    const listening = Promise.withResolvers<number>();
    port1.on('message', (message: FromWorker) => {
      if (message.type !== 'listening') return this.#receive(seat, message);
      seat.threadId = message.threadId;
      listening.resolve(message.port);
    });
    const task: ServeTask = {
      worker: seat.worker,
      memory: this.#options.memory,
      module: this.#options.module,
      inflight: seat.inflight,
      settings: this.#settings,
      sandboxes: this.#sandboxes,
      bindings: this.#bindings,
      auditAvailable: this.#auditAvailable,
      lookupsMax: Math.ceil(DNS_LOOKUPS_PER_SANDBOX_MAX / this.#options.workers),
      port: port2,
    };
    const ended = this.#piscina.run(task, { transferList: [port2] }).then(
      () => this.#lose(seat, port1, new Error('the worker ended by itself')),
      (error: Error) => {
        listening.reject(error);
        return this.#lose(seat, port1, error);
      },
    );
    this.#ended[seat.worker] = ended;
    return listening.promise;
  }

  #receive(seat: Seat, message: Exclude<FromWorker, { type: 'listening' }>): void {
    if (message.type === 'outcomes') {
      const filing = this.#file(seat, decodeOutcomes(message.batch)); // At once: batches share a flush of the audit.
      seat.filed = seat.filed.then(() => filing);
    } else if (message.type === 'refused') {
      this.#options.onRefused(message.refused);
    } else if (message.type === 'log') {
      this.#options.onLog(message.level, message.message, {
        worker: seat.worker,
        ...message.facts,
      });
    } else if (message.type === 'approve' || message.type === 'withdraw') {
      this.#answers.receive(seat.port, message);
    } else if (message.type === 'certificate') {
      this.#certify(seat, message.resource);
    } else if (message.type === 'demand') {
      const { number, id, renew } = message;
      void this.#answer(seat, number, this.#options.onDemand(id, renew));
    } else if (message.type === 'keep') {
      void this.#answer(seat, message.number, this.#options.onKeep(message.signedIn));
    } else {
      this.#configured(seat.worker, message.number, message.error);
    }
  }

  async #answer(seat: Seat, number: number, done: Promise<void>): Promise<void> {
    const { port } = seat; // Of the task that asked; its successor did not.
    const error = await done.then(
      () => null,
      (cause: unknown) => (cause instanceof Error ? cause.message : String(cause)),
    );
    port.postMessage({ type: 'demanded', number, error } satisfies ToWorker);
  }

  #certify(seat: Seat, resource: string): void {
    const pair = this.#options.keyPairOf(resource);
    seat.port.postMessage({ type: 'certified', resource, pair } satisfies ToWorker);
  }

  async #file(seat: Seat, outcomes: readonly Outcome[]): Promise<void> {
    await this.#options.onOutcomes(outcomes);
    const inflight = new Inflight(seat.inflight);
    for (const { slot } of outcomes) inflight.free(slot);
  }

  /** What came before is answered with it: a replacement is told of the latest configuration alone. */
  #configured(worker: number, number: number, error: string | null): void {
    for (const [earlier, waiting] of this.#configurations) {
      if (earlier > number || !waiting.left.delete(worker)) continue;
      if (error !== null) waiting.fail(listenError(error, error));
      else if (waiting.left.size === 0) waiting.done();
    }
  }

  /** A worker's task is over. Unless all are stopping, what it left is recorded and it is replaced. */
  async #lose(seat: Seat, port: MessagePort, error: Error): Promise<void> {
    await turnOfTheLoop(); // Messages that it posted before it died are still on their way.
    port.close();
    this.#answers.forget(port);
    await seat.filed;
    this.#options.releaseLane(seat.worker);
    const inflight = new Inflight(seat.inflight);
    const interrupted = inflight.interrupted();
    if (interrupted.length > 0 || !this.#stopping) {
      await this.#options.onLost(
        seat.worker,
        interrupted.map((one) => interruptedOutcome(one, this.#options.clock.wallMs())),
        error,
      );
      for (const { slot } of interrupted) inflight.free(slot);
    }
    if (this.#stopping || !this.#mayRestart()) return;
    seat.restarts++;
    void this.#run(seat).then(
      () => this.#reconfigureOne(seat),
      () => {}, // Its own #lose has been told.
    );
  }

  /** A replacement may have started with settings that were changed meanwhile. */
  #reconfigureOne(seat: Seat): void {
    const number = this.#configuration;
    seat.port.postMessage({
      type: 'configure',
      number,
      settings: this.#settings,
      sandboxes: this.#sandboxes,
      bindings: this.#bindings,
    } satisfies ToWorker);
  }

  #mayRestart(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    this.#recentRestartsMs = this.#recentRestartsMs.filter((ms) => nowMs - ms < 60_000);
    this.#recentRestartsMs.push(nowMs);
    return this.#recentRestartsMs.length <= WORKER_RESTARTS_PER_MINUTE_MAX;
  }
}

function turnOfTheLoop(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(() => setImmediate(resolve));
  return promise;
}
