// The sandboxes: who may use the proxy, and how each is recognised. A token is shown once, when it
// is made; kept is only its hash. Every change is in force in all workers before it is answered.
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import {
  API_SOCKET_PATH_BYTES_MAX,
  SANDBOX_NAME_BYTES_MAX,
  SANDBOXES_MAX,
} from '../base/limits.ts';
import { parseAddress } from '../policy/address.ts';
import type { Kit } from '../policy/kit.ts';
import type { KitPhase } from '../policy/rule.ts';
import type { Listen, SandboxRecord } from '../workers/messages.ts';
import type { ScopeNames } from './policy/policy.ts';
import type { Store, StoredSandbox } from './store.ts';

const NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/; // A DNS label in lower case (RFC 1123 section 2.1).
const TOKEN_BYTES = 32;

export type NewSandbox = {
  readonly name: string;
  /** HOST:PORT of a listener of its own. */
  readonly listen?: string | undefined;
  /** Path of a unix socket of its own. */
  readonly unix?: string | undefined;
  readonly sourceAddress?: string | undefined;
  /** Where its refused CONNECTs are told: inside TLS, when it trusts the authority. */
  readonly deny?: 'inside' | 'connect' | undefined;
  /** Whose rules it comes with. */
  readonly kit?: Kit | undefined;
  /** Absent: runtime, in which nothing is left over from an installation. */
  readonly phase?: KitPhase | undefined;
};

export type Issued = { readonly sandbox: StoredSandbox; readonly token: string };

export type SandboxOptions = {
  readonly store: Store;
  readonly clock: Clock;
  /** Hands the sandboxes to all workers. @throws SALLYPORT_CONFLICT when a listener does not open */
  readonly configure: (records: readonly SandboxRecord[]) => Promise<void>;
  /** Puts the rules of its kit in force, for its phase. @throws SALLYPORT_POLICY_INVALID */
  readonly provision: (sandbox: StoredSandbox) => Promise<void>;
  /** Removes the rules and the secrets of a sandbox. @throws when its rules are still all there */
  readonly dropScope: (number: number) => Promise<void>;
  /** Socket paths that are the daemon's own. */
  readonly reservedPaths: readonly string[];
};

export class Sandboxes implements ScopeNames {
  readonly #options: SandboxOptions;
  readonly #byName = new Map<string, StoredSandbox>();
  readonly #byNumber = new Map<number, StoredSandbox>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SandboxOptions) {
    this.#options = options;
    for (const sandbox of options.store.sandboxes()) this.#keep(sandbox);
  }

  list(): StoredSandbox[] {
    return [...this.#byName.values()];
  }

  /** @throws SALLYPORT_NOT_FOUND */
  get(name: string): StoredSandbox {
    const sandbox = this.#byName.get(name);
    if (sandbox !== undefined) return sandbox;
    throw new SallyportError('SALLYPORT_NOT_FOUND', `sandbox "${name}" not found`);
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  numberOf(name: string): number {
    return this.get(name).number;
  }

  nameOf(number: number): string | undefined {
    return this.#byNumber.get(number)?.name;
  }

  /** What workers are told. */
  records(): SandboxRecord[] {
    return this.list().map((sandbox) => {
      const { name, number: scope, tokenSha256, listen, sourceAddress, deny, phase } = sandbox;
      return { name, scope, tokenSha256, listen, sourceAddress, deny, phase };
    });
  }

  /**
   * Registers a sandbox and gives it a token.
   *
   * @throws SALLYPORT_REQUEST_INVALID for a bad name or place, SALLYPORT_CONFLICT for one in use,
   *   SALLYPORT_POLICY_INVALID for a kit with faults.
   */
  add(wanted: NewSandbox): Promise<Issued> {
    return this.#inTurn(async () => {
      const { name, listen, sourceAddress } = this.#checked(wanted);
      const { store, clock } = this.#options;
      const token = newToken();
      const sandbox = store.addSandbox({
        name,
        tokenSha256: sha256(token),
        listen,
        sourceAddress,
        deny: wanted.deny ?? null,
        kit: wanted.kit ?? null,
        phase: wanted.phase ?? 'runtime',
        createdAtMs: clock.wallMs(),
      });
      this.#keep(sandbox);
      try {
        if (sandbox.kit !== null) await this.#options.provision(sandbox);
        await this.#configure();
      } catch (error) {
        this.#forget(sandbox);
        if (sandbox.kit !== null) await this.#options.dropScope(sandbox.number).catch(() => {});
        store.removeSandbox(name);
        await this.#configure().catch(() => {}); // Workers that did take it must not keep it.
        throw error;
      }
      return { sandbox, token };
    });
  }

  /**
   * Removes a sandbox, its listener, its token, its rules and its secrets. Its token ends before its
   * rules go, on the disk too: a sandbox that has lost its denies must never be let in again.
   *
   * @throws SALLYPORT_NOT_FOUND; whatever else fails leaves it with its rules.
   */
  remove(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const sandbox = this.get(name);
      this.#forget(sandbox); // First, so that no rule can be added for it meanwhile.
      try {
        await this.#configure();
        this.#options.store.removeSandbox(name);
        await this.#options.dropScope(sandbox.number);
      } catch (error) {
        this.#options.store.restoreSandbox(sandbox);
        this.#keep(sandbox);
        await this.#configure().catch(() => {});
        throw error;
      }
    });
  }

  /** Gives a sandbox another token; the old one ends at once. @throws SALLYPORT_NOT_FOUND */
  rotate(name: string): Promise<Issued> {
    return this.#inTurn(async () => {
      const token = newToken();
      const sandbox = { ...this.get(name), tokenSha256: sha256(token) };
      this.#options.store.setToken(name, sandbox.tokenSha256);
      this.#keep(sandbox);
      await this.#configure();
      return { sandbox, token };
    });
  }

  /**
   * Moves a sandbox to another phase of its kit. What it has open ends: it may have been opened by a
   * rule of the phase before.
   *
   * @throws SALLYPORT_NOT_FOUND; whatever fails leaves it in the phase that it was in.
   */
  setPhase(name: string, phase: KitPhase): Promise<StoredSandbox> {
    return this.#inTurn(async () => {
      const before = this.get(name);
      if (before.phase === phase) return before;
      const after = { ...before, phase };
      try {
        await this.#enter(after);
      } catch (error) {
        await this.#enter(before).catch(() => {});
        throw error;
      }
      return after;
    });
  }

  /** The phase is on the disk first: a start makes the rules agree with it. */
  async #enter(sandbox: StoredSandbox): Promise<void> {
    this.#options.store.setPhase(sandbox.name, sandbox.phase);
    this.#keep(sandbox);
    if (sandbox.kit !== null) await this.#options.provision(sandbox);
    await this.#configure();
  }

  #configure(): Promise<void> {
    return this.#options.configure(this.records());
  }

  #keep(sandbox: StoredSandbox): void {
    this.#byName.set(sandbox.name, sandbox);
    this.#byNumber.set(sandbox.number, sandbox);
  }

  #forget(sandbox: StoredSandbox): void {
    this.#byName.delete(sandbox.name);
    this.#byNumber.delete(sandbox.number);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  #checked(wanted: NewSandbox): {
    name: string;
    listen: Listen | null;
    sourceAddress: string | null;
  } {
    const { name } = wanted;
    checkSandboxName(name);
    if (this.#byName.has(name)) throw conflict(`sandbox "${name}" exists already`);
    if (this.#byName.size >= SANDBOXES_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', `there are ${SANDBOXES_MAX} sandboxes`);
    }
    const listen = this.#listenOf(wanted);
    const sourceAddress = sourceOf(wanted.sourceAddress);
    for (const other of this.#byName.values()) {
      if (sourceAddress !== null && other.sourceAddress === sourceAddress) {
        throw conflict(`sandbox "${other.name}" has the source address ${sourceAddress}`);
      }
      if (
        listen !== null &&
        other.listen !== null &&
        formatListen(other.listen) === formatListen(listen)
      ) {
        throw conflict(`sandbox "${other.name}" listens on ${formatListen(listen)}`);
      }
    }
    return { name, listen, sourceAddress };
  }

  #listenOf({ listen, unix }: NewSandbox): Listen | null {
    if (listen !== undefined && unix !== undefined) {
      throw invalid('a sandbox has one listener: a HOST:PORT or a unix path');
    }
    if (listen !== undefined) return { kind: 'tcp', ...parseListen(listen, 1) };
    if (unix === undefined) return null;
    if (!isAbsolute(unix) || unix.includes('\0')) throw invalid(`"${unix}" is no absolute path`);
    if (Buffer.byteLength(unix) > API_SOCKET_PATH_BYTES_MAX) {
      throw invalid(
        `the path has more than ${API_SOCKET_PATH_BYTES_MAX} bytes, the most a socket can have`,
      );
    }
    // A socket there is taken to be left over, and replaced; nothing else is ever touched.
    const there = lstatSync(unix, { throwIfNoEntry: false });
    const reserved = this.#options.reservedPaths.includes(unix);
    if (reserved || (there !== undefined && !there.isSocket())) throw conflict(`${unix} is in use`);
    return { kind: 'unix', path: unix };
  }
}

/** @throws SALLYPORT_REQUEST_INVALID */
export function checkSandboxName(name: string): void {
  if (name.length <= SANDBOX_NAME_BYTES_MAX && NAME.test(name)) return;
  throw invalid(`"${name}" is no sandbox name: 1 to 63 of a-z, 0-9 and -, no - at either end`);
}

/**
 * Reads HOST:PORT, where HOST is an address or `localhost`.
 *
 * @param portMin  0 where the system may choose the port.
 * @throws SALLYPORT_REQUEST_INVALID
 */
export function parseListen(text: string, portMin: number): { host: string; port: number } {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2] ?? '';
  const port = Number(parts?.[3] ?? -1);
  const address = host === 'localhost' ? '127.0.0.1' : parseAddress(host);
  if (!address || port < portMin || port > 65_535) {
    throw invalid(
      `"${text}" is no HOST:PORT of this machine, such as 127.0.0.1:3128 or [::1]:3128`,
    );
  }
  return { host: address, port };
}

export function formatListen(listen: Listen): string {
  if (listen.kind === 'unix') return listen.path;
  return listen.host.includes(':')
    ? `[${listen.host}]:${listen.port}`
    : `${listen.host}:${listen.port}`;
}

/**
 * The URL for HTTP_PROXY: that of its own listener, else the shared one with name and token.
 *
 * @param shared  the shared listener.
 */
export function proxyUrl({ sandbox, token }: Issued, shared: Listen): string {
  const { name, listen } = sandbox;
  if (listen?.kind === 'tcp') return `http://${formatListen(reachable(listen))}`;
  return `http://${name}:${token}@${formatListen(reachable(shared))}`;
}

/** The same without name and token; null for a unix socket, which no URL can name. */
export function proxyPlace({ listen }: StoredSandbox, shared: Listen): string | null {
  const place = listen ?? shared;
  return place.kind === 'unix' ? null : `http://${formatListen(reachable(place))}`;
}

/** A listener on all addresses is told by one that a client on this machine can use. */
function reachable(listen: Listen): Listen {
  if (listen.kind === 'unix') return listen;
  if (listen.host === '0.0.0.0') return { ...listen, host: '127.0.0.1' };
  return listen.host === '::' ? { ...listen, host: '::1' } : listen;
}

function sourceOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  const address = parseAddress(text);
  if (address) return address;
  throw invalid(`"${text}" is no IP address`);
}

function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

export function sha256(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_REQUEST_INVALID', message);
}

function conflict(message: string): SallyportError {
  return new SallyportError('SALLYPORT_CONFLICT', message);
}
