// Names to addresses, once per decision. Answers are cached for a bounded time and number, and a
// name that is being asked for is not asked for twice. One sandbox has a few look-ups under way: the
// threads that make them are few, and a name server that is slow would keep them all from the others.
import { Resolver as DnsResolver, lookup } from 'node:dns/promises';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import {
  DNS_ADDRESSES_MAX,
  DNS_CACHE_ENTRIES_MAX,
  DNS_LOOKUPS_PER_SANDBOX_MAX,
  DNS_NEGATIVE_TTL_MS,
  DNS_TIMEOUT_MS,
  DNS_TTL_MS,
  DNS_WAITING_PER_SANDBOX_MAX,
} from '../base/limits.ts';
import { type Address, parseAddress } from '../policy/address.ts';
import { Turns } from './turns.ts';

/** The addresses of one name, in the order the resolver prefers. Same object while cached. */
export type Resolution = { readonly addresses: readonly Address[] };

type Entry = { readonly untilMs: number; readonly answer: Resolution | SallyportError };
/** Asks for one name; rejects with a `code` when there is no answer. */
export type Ask = (host: string) => Promise<{ addresses: string[]; ttlMs: number }>;

/** The worker's resolver: one lookup per name at a time, bounded cache of answers and failures. */
export class Resolver {
  readonly #clock: Clock;
  readonly #ask: Ask;
  readonly #cache = new Map<string, Entry>();
  readonly #pending = new Map<string, Promise<Resolution>>();
  /** Names in line, each with the scope that asks: nobody waits in another's line. */
  readonly #waiting = new Map<string, Promise<Resolution>>();
  readonly #turns: Turns;
  readonly #literals = new Map<Address, Resolution>();

  /** @param lookupsMax  under way for one sandbox at one time. */
  constructor(clock: Clock, ask: Ask, lookupsMax = DNS_LOOKUPS_PER_SANDBOX_MAX) {
    this.#clock = clock;
    this.#ask = ask;
    this.#turns = new Turns(lookupsMax, DNS_WAITING_PER_SANDBOX_MAX);
  }

  /**
   * @param scope  of the sandbox that asks.
   * @returns at least one address, at once when cached.
   * @throws SALLYPORT_DNS_FAILED, SALLYPORT_DNS_TIMEOUT; SALLYPORT_OVERLOADED: its line is full
   */
  resolve(host: string, scope: number): Resolution | Promise<Resolution> {
    const known = this.#known(host) ?? this.#waiting.get(`${scope} ${host}`);
    return known ?? this.#lineUp(host, scope);
  }

  /** What is cached or under way. */
  #known(host: string): Resolution | Promise<Resolution> | undefined {
    const cached = this.#cache.get(host);
    if (cached !== undefined && cached.untilMs > this.#clock.monotonicMs()) {
      if (cached.answer instanceof SallyportError) throw cached.answer;
      return cached.answer;
    }
    return this.#pending.get(host);
  }

  /** Waits for its turn for no longer than for an answer. */
  #lineUp(host: string, scope: number): Promise<Resolution> {
    const { promise, resolve, reject } = Promise.withResolvers<Resolution>();
    const key = `${scope} ${host}`;
    let timer: NodeJS.Timeout | undefined;
    let hasBegun = false;
    const begin = (): Promise<void> => {
      hasBegun = true;
      clearTimeout(timer);
      this.#waiting.delete(key);
      return this.#begin(host, resolve).catch(reject);
    };
    const leave = this.#turns.wait(scope, begin);
    if (leave === null) throw crowded(host);
    if (hasBegun) return promise;
    this.#waiting.set(key, promise);
    timer = setTimeout(() => {
      leave();
      this.#waiting.delete(key);
      reject(late(`${host} waited too long behind other names that the sandbox asks for`));
    }, DNS_TIMEOUT_MS);
    return promise;
  }

  /** @returns when nobody is at it any more, which may be long after the time for it is over. */
  async #begin(
    host: string,
    told: (answer: Resolution | Promise<Resolution>) => void,
  ): Promise<void> {
    const known = this.#known(host); // Another sandbox may have asked meanwhile.
    if (known !== undefined) return told(known);
    const asked = this.#ask(host);
    const answer = this.#lookUp(host, asked).finally(() => this.#pending.delete(host));
    this.#pending.set(host, answer);
    told(answer);
    await asked;
  }

  /** An address leads to itself. The same object each time, as for names, so that what was judged of it is kept. */
  literal(address: Address): Resolution {
    const known = this.#literals.get(address);
    if (known !== undefined) return known;
    const itself = { addresses: [address] };
    if (this.#literals.size >= DNS_CACHE_ENTRIES_MAX) this.#literals.clear();
    this.#literals.set(address, itself);
    return itself;
  }

  async #lookUp(host: string, asked: ReturnType<Ask>): Promise<Resolution> {
    try {
      const { addresses, ttlMs } = await withTimeout(asked, host);
      const answer = { addresses: canonical(addresses) };
      if (answer.addresses.length === 0) throw failed(host, 'no address');
      this.#remember(host, answer, ttlMs);
      return answer;
    } catch (error) {
      const known = error instanceof SallyportError ? error : failed(host, codeOf(error), error);
      if (known.code === 'SALLYPORT_DNS_FAILED') {
        this.#remember(host, known, DNS_NEGATIVE_TTL_MS);
      }
      throw known;
    }
  }

  #remember(host: string, answer: Entry['answer'], ttlMs: number): void {
    this.#cache.delete(host);
    if (this.#cache.size >= DNS_CACHE_ENTRIES_MAX) {
      const oldest = this.#cache.keys().next();
      if (!oldest.done) this.#cache.delete(oldest.value);
    }
    const untilMs = this.#clock.monotonicMs() + Math.min(ttlMs, DNS_TTL_MS);
    this.#cache.set(host, { untilMs, answer });
  }
}

/** @param servers  `ip` or `ip:port` to ask; empty for the system's own resolver. */
export function askerOf(servers: readonly string[]): Ask {
  return servers.length === 0 ? askSystem : askServers(servers);
}

/** getaddrinfo: hosts file and name service switch, as every other program on this machine. */
async function askSystem(host: string): Promise<{ addresses: string[]; ttlMs: number }> {
  const found = await lookup(host, { all: true, order: 'verbatim' });
  return { addresses: found.map(({ address }) => address), ttlMs: DNS_TTL_MS };
}

function askServers(servers: readonly string[]): Ask {
  const resolver = new DnsResolver({ timeout: DNS_TIMEOUT_MS / 4, tries: 2 });
  resolver.setServers(servers);
  return async (host) => {
    const [v4, v6] = await Promise.allSettled([
      resolver.resolve4(host, { ttl: true }),
      resolver.resolve6(host, { ttl: true }),
    ]);
    const records = [v6, v4].flatMap((part) => (part.status === 'fulfilled' ? part.value : []));
    if (records.length === 0 && v4.status === 'rejected') throw v4.reason;
    const ttlS = Math.min(...records.map(({ ttl }) => ttl));
    return { addresses: records.map(({ address }) => address), ttlMs: ttlS * 1000 };
  };
}

function canonical(addresses: readonly string[]): Address[] {
  const parsed = addresses.slice(0, DNS_ADDRESSES_MAX).map((address) => parseAddress(address));
  return [...new Set(parsed)].filter((address) => address !== null);
}

async function withTimeout<T>(work: Promise<T>, host: string): Promise<T> {
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late(`no answer for ${host} in time`)), DNS_TIMEOUT_MS);
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

function late(message: string): SallyportError {
  return new SallyportError('SALLYPORT_DNS_TIMEOUT', message);
}

function crowded(host: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_OVERLOADED',
    `${host} is not looked up: ${DNS_WAITING_PER_SANDBOX_MAX} names that the sandbox asks for are waiting`,
  );
}

function failed(host: string, why: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_DNS_FAILED', `${host} does not resolve: ${why}`, { cause });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown failure';
}
