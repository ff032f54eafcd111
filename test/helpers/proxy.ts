// The proxy's pipeline on a real socket in this process: rules in, address out. For what passes on
// the wire; workers, daemon and store have their own tests in e2e/ and faults/.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { SecureContext } from 'node:tls';
import { systemClock } from '../../src/base/clock.ts';
import type { Binding } from '../../src/credentials/binding.ts';
import {
  type ClientCertificate,
  ClientCertificates,
  certificateId,
} from '../../src/credentials/client-certificate.ts';
import { Credentials } from '../../src/credentials/inject.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { Connection, type Held } from '../../src/proxy/accept.ts';
import type { Approve } from '../../src/proxy/approval.ts';
import type { Outcome, ProxySettings } from '../../src/proxy/exchange.ts';
import { Registry } from '../../src/proxy/identify.ts';
import { createPipeline, type Services as ProxyServices } from '../../src/proxy/pipeline.ts';
import { Recorder } from '../../src/proxy/record.ts';
import { type Ask, askerOf, Resolver } from '../../src/proxy/resolve.ts';
import { Trust } from '../../src/proxy/secure.ts';
import { sweep } from '../../src/proxy/sweep.ts';
import { Upstreams } from '../../src/proxy/upstreams.ts';
import { createInflight, Inflight } from '../../src/workers/inflight.ts';
import { rulesOf, type Written } from './rules.ts';

export const TOKEN = 'a-token-of-the-tests';
export const AUTHORIZATION = authorizationOf('box');

/** Of the sandbox with this name; all have the same token. */
export function authorizationOf(name: string): string {
  return `Basic ${Buffer.from(`${name}:${TOKEN}`).toString('base64')}`;
}

export type TestSandbox = { readonly name: string; readonly scope: number };

export type TestProxy = {
  readonly port: number;
  readonly outcomes: Outcome[];
  readonly recorder: Recorder;
  /** Resolves with the next outcome that is not yet in `outcomes`. */
  nextOutcome(): Promise<Outcome>;
  /** Connections, those inside tunnels too. */
  readonly held: ReadonlySet<Held>;
  /** What the worker does once a second, as if so much time had passed since the last one. */
  sweep(passedMs: number): void;
  close(): Promise<void>;
};

type Options = {
  readonly rules?: readonly Written[];
  readonly settings?: Partial<ProxySettings>;
  readonly approve?: Approve;
  /** Addresses to answer for names, in place of a name server. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
  /** Answers for names that the test decides when to give; comes before `names`. */
  readonly ask?: Ask;
  readonly defaultSandbox?: string | null;
  readonly bindings?: readonly Binding[];
  /** TLS in the name of a host, for what is intercepted. */
  readonly contextFor?: (host: string) => SecureContext;
  /** What the daemon would do for token endpoints. */
  readonly grants?: ProxyServices['grants'];
  /** PEM of authorities that origins may have beside the system's. */
  readonly trusted?: readonly string[];
  readonly clientCertificates?: readonly ClientCertificate[];
  /** Beside `box`, whose scope is 1. */
  readonly sandboxes?: readonly TestSandbox[];
};

function noContext(): never {
  throw new Error('nothing is intercepted in this test');
}

/** Starts a proxy on loopback; the sandbox `box` is the default one unless said otherwise. */
export async function startProxy(options: Options = {}): Promise<TestProxy> {
  const outcomes: Outcome[] = [];
  const waiting: ((outcome: Outcome) => void)[] = [];
  const inflight = new Inflight(createInflight());
  const recorder = new Recorder(systemClock, inflight, (batch) => {
    for (const outcome of batch) {
      inflight.free(outcome.slot);
      outcomes.push(outcome);
      waiting.shift()?.(outcome);
    }
  });
  const tokenSha256 = createHash('sha256').update(TOKEN).digest('hex');
  const records = [{ name: 'box', scope: 1 }, ...(options.sandboxes ?? [])].map((sandbox) => ({
    ...sandbox,
    tokenSha256,
    sourceAddress: null,
    deny: null,
  }));
  const certificates = certificatesOf(options.clientCertificates ?? []);
  const settings: ProxySettings = {
    addressGuard: 'strict',
    via: false,
    forwardedFor: false,
    isOwn: () => false,
    deny: 'connect',
    supportMessage: null,
    approvals: false,
    bypassOf: () => null,
    certificateFor: (host, port) => {
      const resource = certificates.towards(host, port);
      return resource === null ? null : certificateId(resource);
    },
    ...options.settings,
  };
  const defaultSandbox = options.defaultSandbox === undefined ? 'box' : options.defaultSandbox;
  const tick = { nowMs: systemClock.monotonicMs() };
  const upstreams = new Upstreams(
    new Trust(systemClock, options.trusted ?? [], certificates),
    tick,
  );
  const held = new Set<Held>();
  const hold = (connection: Held): void => {
    held.add(connection);
    connection.socket.once('close', () => held.delete(connection));
  };
  const pipeline = createPipeline({
    matcher: referenceMatcher(rulesOf(...(options.rules ?? []))),
    resolver:
      options.ask === undefined
        ? resolverOf(options.names)
        : new Resolver(systemClock, options.ask),
    current: {
      registry: new Registry(records, defaultSandbox),
      settings,
      credentials: new Credentials(options.bindings ?? []),
      contextFor: options.contextFor ?? noContext,
    },
    hold,
    approve: options.approve ?? (async () => 'off'),
    demand: async () => {},
    grants: options.grants ?? { renew: async () => {}, keep: async () => {} },
    vetted: new WeakMap(),
    recorder,
    upstreams,
    tick,
    report: (error) => process.emitWarning(String(error)),
  });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const origin = { listener: null, remoteAddress: '127.0.0.1', loopback: true };
    hold(new Connection(socket, origin, pipeline, tick));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    outcomes,
    recorder,
    nextOutcome: () => {
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      waiting.push(resolve);
      return promise;
    },
    held,
    sweep: (passedMs) => {
      tick.nowMs += passedMs;
      sweep(held, tick.nowMs);
    },
    close: async () => {
      for (const { socket } of held) socket.destroy();
      server.close();
      await upstreams.destroy();
      recorder.flush();
    },
  };
}

export function certificatesOf(given: readonly ClientCertificate[]): ClientCertificates {
  return new ClientCertificates(
    given.map(({ resource }) => resource),
    async (resource) => given.find((one) => one.resource === resource) ?? null,
  );
}

function resolverOf(names: Options['names']): Resolver {
  if (names === undefined) return new Resolver(systemClock, askerOf([]));
  return new Resolver(systemClock, async (host) => {
    const addresses = names[host];
    if (addresses === undefined) throw Object.assign(new Error(host), { code: 'ENOTFOUND' });
    return { addresses: [...addresses], ttlMs: 1_000 };
  });
}
