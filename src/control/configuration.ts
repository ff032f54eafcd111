// What the workers are told beside the sandboxes: put together anew at each change, from the options
// of the start and from what can be changed while running.
import type { SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { type ClientCertificate, ClientCertificates } from '../credentials/client-certificate.ts';
import { Trust } from '../proxy/secure.ts';
import type { Listen, SandboxRecord, ServeSettings } from '../workers/messages.ts';
import type { LogLevel, LogLevels } from './api/services.ts';
import type { Authority } from './authority.ts';
import { machineAddresses, ownAddresses } from './own-addresses.ts';
import type { ApprovalMode } from './policy/approvals.ts';
import { parseListen } from './sandboxes.ts';

export type ProxyOptions = {
  /** HOST:PORT of the shared proxy listener; port 0 for any. */
  readonly listen: string;
  /** 1..WORKERS_MAX */
  readonly workers: number;
  /** Serves unauthenticated loopback clients; created when absent. */
  readonly defaultSandbox?: string | undefined;
  readonly addressGuard: 'strict' | 'docker';
  readonly via: boolean;
  readonly forwardedFor: boolean;
  /** `ip` or `ip:port`; empty: the system's resolver. */
  readonly dnsServers: readonly string[];
  readonly logLevel: LogLevel;
  readonly deny: 'inside' | 'connect';
  /** What opens a page for a sandbox; empty: nothing. */
  readonly browserCommand: readonly string[];
  /** Whether people are asked about what no rule covers. */
  readonly approvals: ApprovalMode;
  /** How long a request is held for that. */
  readonly approvalWaitMs: number;
  /** Resources that are never intercepted. */
  readonly bypass: readonly string[];
  /** PEM of authorities that destinations may have beside the system's. */
  readonly upstreamAuthorities: readonly string[];
  /** Presented to destinations that ask; of several for one, the first. */
  readonly clientCertificates: readonly ClientCertificate[];
  /** The control API over TCP too; absent: the unix socket alone. */
  readonly api?: { readonly listen: string; readonly token: string } | undefined;
};

type Around = { readonly reusePort: boolean; readonly clock: Clock };

/** What can change while the workers run. */
export type LiveOptions = Pick<
  ProxyOptions,
  | 'defaultSandbox'
  | 'addressGuard'
  | 'via'
  | 'forwardedFor'
  | 'deny'
  | 'bypass'
  | 'approvals'
  | 'approvalWaitMs'
  | 'browserCommand'
>;

/** The workers' settings, put together anew at each change. */
export class Configuration {
  #options: ProxyOptions;
  readonly #reusePort: boolean;
  readonly #clock: Clock;
  readonly #api: Listen | null;
  readonly #certificates: ClientCertificates;
  #trust: Trust | null = null;
  #listen: Listen & { kind: 'tcp' };
  logLevels: LogLevels;
  /** Of the organisation that governs; its refusals end with it. */
  supportMessage: string | null = null;

  constructor(options: ProxyOptions, { reusePort, clock }: Around) {
    this.#options = options;
    this.#reusePort = reusePort;
    this.#clock = clock;
    const resources = options.clientCertificates.map(({ resource }) => resource);
    this.#certificates = new ClientCertificates(resources, async (one) => this.certificateOf(one));
    this.#listen = { kind: 'tcp', ...parseListen(options.listen, 0) };
    this.#api = options.api === undefined ? null : apiListen(options.api.listen);
    this.logLevels = { general: options.logLevel, proxy: options.logLevel };
  }

  /** What holds at present of the options that can change while running. */
  get live(): LiveOptions {
    return this.#options;
  }

  /** The workers go by it when they are configured next. */
  change(options: Partial<LiveOptions>): void {
    this.#options = { ...this.#options, ...options };
  }

  get listen(): Listen & { kind: 'tcp' } {
    return this.#listen;
  }

  set port(port: number) {
    this.#listen = { ...this.#listen, port };
  }

  get api(): Listen | null {
    return this.#api;
  }

  get apiToken(): string {
    return this.#options.api?.token ?? '';
  }

  /** What a destination may be certified by, and what it is presented; made when it is first needed. */
  readonly trusted = (host: string, port: number): Promise<SecureContext> => {
    const { upstreamAuthorities } = this.#options;
    this.#trust ??= new Trust(this.#clock, upstreamAuthorities, this.#certificates);
    return this.#trust.contextTowards(host, port);
  };

  readonly certificateFor = (host: string, port: number): ClientCertificate | null => {
    const resource = this.#certificates.towards(host, port);
    return resource === null ? null : this.certificateOf(resource);
  };

  readonly certificateOf = (resource: string): ClientCertificate | null =>
    this.#options.clientCertificates.find((one) => one.resource === resource) ?? null;

  get upstreamAuthorities(): readonly string[] {
    return this.#options.upstreamAuthorities;
  }

  /** Without SO_REUSEPORT only one worker can listen. */
  get workers(): number {
    return this.#reusePort ? this.#options.workers : 1;
  }

  settings(
    sandboxes: readonly SandboxRecord[],
    { material, ticketKeys }: Pick<Authority, 'material' | 'ticketKeys'>,
  ): ServeSettings {
    const { defaultSandbox, addressGuard, via, forwardedFor, dnsServers } = this.#options;
    const { deny, approvals, bypass, upstreamAuthorities, clientCertificates } = this.#options;
    const listens = [this.#listen, this.#api, ...sandboxes.map(({ listen }) => listen)];
    return {
      listen: this.#listen,
      reusePort: this.#reusePort,
      defaultSandbox: defaultSandbox ?? null,
      addressGuard,
      via,
      forwardedFor,
      ownAddresses: ownAddresses(
        listens.filter((listen) => listen !== null),
        machineAddresses(),
      ),
      dnsServers,
      logLevel: this.logLevels.proxy,
      deny,
      approvals: approvals !== 'off',
      bypass,
      supportMessage: this.supportMessage,
      upstreamAuthorities,
      clientCertificates: clientCertificates.map(({ resource }) => resource),
      authority: material,
      ticketKeys,
    };
  }
}

/** @throws SALLYPORT_USAGE for every address at once: too many spellings to keep sandboxes from. */
export function apiListen(text: string): Listen {
  const { host, port } = parseListen(text, 1);
  if (host !== '0.0.0.0' && host !== '::') return { kind: 'tcp', host, port };
  throw new SallyportError('SALLYPORT_USAGE', 'the control API listens on one address, not on all');
}
