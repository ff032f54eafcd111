// A sandbox asks for a URL to be opened in the browser of the host. Its host is judged as a request
// would be, and every address that it leads to; what is allowed goes to the configured program as one
// argument, through no shell.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import {
  BROWSER_OPENS_PER_MINUTE_MAX,
  BROWSER_RUNNING_MAX,
  BROWSER_START_MS,
  BROWSER_URL_BYTES_MAX,
} from '../base/limits.ts';
import { type Address, isAddress } from '../policy/address.ts';
import type { Matcher, Question } from '../policy/decision.ts';
import { hasControl } from '../policy/file-path.ts';
import type { Host } from '../policy/host.ts';
import { type AddressGuard, judgeAddresses, judgeTarget } from '../policy/judge.ts';
import { DENIED_BY, ruleText } from '../policy/reasons.ts';
import { formatHostPort } from '../policy/resource.ts';
import { parseTarget } from '../policy/target.ts';
import type { Resolver } from '../proxy/resolve.ts';
import type { Decisions } from './audit/decided.ts';

export type BrowserRequest = { readonly url: string; readonly sandbox: string };

export type Opened = {
  /** As it was given to the program. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly generation: number;
};

type Parts = {
  readonly matcher: Matcher;
  readonly scopes: { numberOf(name: string): number };
  readonly addressGuard: () => AddressGuard;
  /** As the browser will ask. */
  readonly resolver: Pick<Resolver, 'resolve'>;
  /** The program and its first arguments; empty: none is configured. */
  readonly command: () => readonly string[];
  readonly decisions: Pick<Decisions, 'record'>;
  readonly clock: Clock;
  /** Of the organisation that governs: whom to ask; null for none. */
  readonly supportMessage: () => string | null;
};

/** What was decided, in the words of the audit. */
type Verdict = {
  readonly action: 'allow' | 'deny';
  readonly kind: 'explicit' | 'implicit';
  readonly rule: string | null;
  readonly source: 'local' | 'kit' | 'remote' | null;
  readonly reason: string | null;
  readonly code: 'SALLYPORT_DENIED' | 'SALLYPORT_ADDRESS_FORBIDDEN' | null;
  readonly generation: number;
};

type Target = { readonly href: string; readonly path: string } & Question;

export class Browser {
  readonly #parts: Parts;
  /** When each sandbox has asked within the last minute, monotonic. */
  readonly #recentMs = new Map<number, number[]>();
  #running = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Judges, records and opens.
   *
   * @returns when the program has ended well, or runs for BROWSER_START_MS.
   * @throws SALLYPORT_NOT_FOUND for a sandbox, SALLYPORT_TARGET_INVALID for what is no web address,
   *   SALLYPORT_DENIED, SALLYPORT_ADDRESS_FORBIDDEN, SALLYPORT_DNS_FAILED, SALLYPORT_DNS_TIMEOUT,
   *   SALLYPORT_BROWSER_UNAVAILABLE, SALLYPORT_OVERLOADED
   */
  async open({ url, sandbox }: BrowserRequest): Promise<Opened> {
    const scope = this.#parts.scopes.numberOf(sandbox);
    const target = targetOf(url, scope);
    this.#checkRate(scope);
    const { host, port, href } = target;
    const place = formatHostPort(host, port);
    const verdict = await this.#judge(target);
    await this.#record(sandbox, target, verdict);
    if (verdict.code !== null) {
      const why = this.#told(verdict);
      throw new SallyportError(verdict.code, `${place} is not allowed: ${why}`);
    }
    await this.#start(href);
    return { url: href, host, port, generation: verdict.generation };
  }

  /** A runtime may hand it on to the sandbox: of an organisation's rules it says nothing. */
  #told({ source, reason }: Verdict): string | null {
    const support = this.#parts.supportMessage();
    const why = source === 'remote' ? DENIED_BY.remote : reason;
    const isTheirs = source === 'remote' || source === null;
    return isTheirs && support !== null ? `${why}\n${support}` : why;
  }

  async #judge(target: Target): Promise<Verdict> {
    const { matcher, addressGuard, resolver } = this.#parts;
    const { path, host, port, scope } = target;
    const asked = { method: 'GET', target: path };
    const verdict = judgeTarget(matcher, target, addressGuard(), asked);
    if (verdict.action === 'deny') return { ...verdict, code: 'SALLYPORT_DENIED' };
    if (isAddress(host) || host === 'localhost') return { ...verdict, code: null };
    const { addresses } = await resolver.resolve(host, scope);
    // The browser picks one for itself: all of them have to be allowed.
    const [refused] = judgeAddresses(matcher, target, addresses, addressGuard()).refused;
    if (refused === undefined) return { ...verdict, code: null };
    const { rule, source } = refused;
    return {
      action: 'deny',
      kind: rule === null ? 'implicit' : 'explicit',
      rule,
      source,
      reason: `resolved-address: ${formatHostPort(host, port)} leads to ${refused.reason}`,
      code: 'SALLYPORT_ADDRESS_FORBIDDEN',
      generation: verdict.generation,
    };
  }

  #record(sandbox: string, target: Target, verdict: Verdict): Promise<void> {
    const { decisions, clock } = this.#parts;
    const { host, port, path } = target;
    const { action, kind, rule, source, reason, code, generation } = verdict;
    const denied = action === 'deny';
    const decided = {
      time_ms: clock.wallMs(),
      sandbox,
      mode: 'browser-open',
      place: formatHostPort(host, port),
      verdict: action,
      // sbx leaves rule and reason of an opened page empty.
      rule: denied ? ruleText(kind === 'explicit' ? rule : null, target) : '',
      reason,
    } as const;
    return decisions.record(decided, {
      action_type: 'browser_open',
      host,
      port,
      path: path.replace(/\?.*$/s, ''),
      verdict: action,
      deny_kind: denied ? kind : null,
      rule,
      source,
      reason,
      code,
      generation,
    });
  }

  /** @throws SALLYPORT_OVERLOADED */
  #checkRate(scope: number): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const [one, times] of this.#recentMs) {
      const recent = times.filter((ms) => nowMs - ms < 60_000);
      if (recent.length === 0) this.#recentMs.delete(one);
      else this.#recentMs.set(one, recent);
    }
    const own = this.#recentMs.get(scope) ?? [];
    if (own.length >= BROWSER_OPENS_PER_MINUTE_MAX) {
      const message = `the sandbox asked for ${own.length} pages within a minute`;
      throw new SallyportError('SALLYPORT_OVERLOADED', message);
    }
    this.#recentMs.set(scope, [...own, nowMs]);
  }

  async #start(href: string): Promise<void> {
    const [program, ...args] = this.#parts.command();
    if (program === undefined) {
      throw unavailable('no program is configured that opens pages: set browser.command');
    }
    if (this.#running >= BROWSER_RUNNING_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', `${this.#running} pages are being opened`);
    }
    this.#running++;
    const child = spawn(program, [...args, href], { detached: true, stdio: 'ignore' });
    child.unref();
    child.once('close', () => this.#running--);
    await started(child, program);
  }
}

/** Some programs end when the page is shown, others are the browser. @throws SALLYPORT_BROWSER_UNAVAILABLE */
async function started(child: ChildProcess, program: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, BROWSER_START_MS);
  child.once('error', () => reject(unavailable(`${program} could not be started`)));
  child.once('close', (code, signal) => {
    if (code === 0) resolve();
    else reject(unavailable(`${program} ended with ${code ?? signal}`));
  });
  await promise.finally(() => clearTimeout(timer));
}

/** @throws SALLYPORT_TARGET_INVALID */
function targetOf(text: string, scope: number): Target {
  if (Buffer.byteLength(text) > BROWSER_URL_BYTES_MAX) {
    throw invalid(`the URL has more than ${BROWSER_URL_BYTES_MAX} bytes`);
  }
  if (hasControl(text) || /[\s\\]/.test(text)) {
    throw invalid('the URL has a space, a backslash or a control character');
  }
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalid('only http and https addresses are opened');
  }
  if (url.username !== '' || url.password !== '') {
    throw invalid('a URL with a user name is not opened: it hides the host');
  }
  // What the program is given is judged, not what was sent.
  const { host, port, path } = parseTarget(url.href);
  const common = { scope, port, protocol: 'tcp' } as const;
  return { ...common, host: host as Host | Address, href: url.href, path: path ?? '/' };
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_TARGET_INVALID', message);
}

function unavailable(message: string): SallyportError {
  return new SallyportError('SALLYPORT_BROWSER_UNAVAILABLE', message);
}
