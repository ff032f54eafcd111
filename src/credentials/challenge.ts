// What a registry asks of who logs in (RFC 9110 section 11.6.1), and whether it may be given that. A
// registry is not trusted with where a login goes: it can be broken into, or be somebody else's.
import { SallyportError } from '../base/errors.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { RegistryBinding } from './binding.ts';

export type Challenge = {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
};

/** How to log in. */
export type Way =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      /** May have the login. */
      readonly realm: URL;
      readonly service: string | null;
      /** What the challenge itself asked for. */
      readonly scope: string | null;
    };

const TOKEN = "[!#$%&'*+.^_`|~\\w-]+";
const SCHEME = new RegExp(`(${TOKEN})(?:[ \\t]+|$|(?=,))`, 'y');
const PARAMETER = new RegExp(
  `(${TOKEN})[ \\t]*=[ \\t]*(?:(${TOKEN})|"((?:[^"\\\\]|\\\\.)*)")[ \\t]*(?=,|$)`,
  'y',
);
const TOKEN68 = /[\w.~+/-]+=*[ \t]*(?=,|$)/y;
const BETWEEN = /[ \t,]*/y;

/**
 * Reads WWW-Authenticate.
 *
 * @param values  one for each field line.
 * @returns null when any of it cannot be read in one way only.
 */
export function parseChallenges(values: readonly string[]): readonly Challenge[] | null {
  const all: Challenge[] = [];
  for (const value of values) {
    const some = parseList(value);
    if (some === null) return null;
    all.push(...some);
  }
  return all;
}

type Draft = { readonly scheme: string; readonly parameters: Map<string, string> };

function parseList(value: string): Draft[] | null {
  const list: Draft[] = [];
  for (let at = endOf(BETWEEN, value, 0); at < value.length; at = endOf(BETWEEN, value, at)) {
    const next = readParameter(value, at, list.at(-1)) ?? readScheme(value, at, list);
    if (next === null) return null;
    at = next;
  }
  return list;
}

/** @returns where it ends; null when none stands there that the challenge does not have yet. */
function readParameter(value: string, at: number, challenge: Draft | undefined): number | null {
  const [, name = '', token, quoted = ''] = matchAt(PARAMETER, value, at) ?? [];
  const lower = name.toLowerCase();
  if (challenge === undefined || lower === '' || challenge.parameters.has(lower)) return null;
  challenge.parameters.set(lower, token ?? quoted.replace(/\\(.)/g, '$1'));
  return endOf(PARAMETER, value, at);
}

/** Reads a scheme and the token68 behind it, which none of ours has. */
function readScheme(value: string, at: number, list: Draft[]): number | null {
  const scheme = matchAt(SCHEME, value, at)?.[1];
  if (scheme === undefined) return null;
  list.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
  const end = endOf(SCHEME, value, at);
  return matchAt(PARAMETER, value, end) === null ? endOf(TOKEN68, value, end) : end;
}

function matchAt(pattern: RegExp, value: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(value);
}

/** @returns the end of the match, `at` when there is none. */
function endOf(pattern: RegExp, value: string, at: number): number {
  return at + (matchAt(pattern, value, at)?.[0].length ?? 0);
}

/**
 * Chooses how to log in. Bearer comes before Basic, since what then goes to the registry is worth
 * little; and a Bearer that goes astray is not made good by Basic.
 *
 * @param registry  the host and port that asked.
 * @throws SALLYPORT_REGISTRY_REALM_REFUSED, SALLYPORT_REGISTRY_LOGIN_FAILED
 */
export function wayOf(
  values: readonly string[],
  binding: Pick<RegistryBinding, 'registry' | 'realms'>,
  registry: { readonly host: string; readonly port: number },
): Way {
  const challenges = parseChallenges(values);
  const bearer = challenges?.find(({ scheme }) => scheme === 'bearer');
  if (bearer !== undefined) {
    const { parameters } = bearer;
    return {
      kind: 'bearer',
      realm: allowedRealm(parameters.get('realm') ?? '', binding, registry),
      service: parameters.get('service') ?? null,
      scope: parameters.get('scope') ?? null,
    };
  }
  if (challenges?.some(({ scheme }) => scheme === 'basic')) {
    if (binding.realms === null) return { kind: 'basic' };
    throw refused(binding, 'asks for the login itself');
  }
  throw new SallyportError(
    'SALLYPORT_REGISTRY_LOGIN_FAILED',
    `registry ${binding.registry} asks for a login in no way that is understood`,
  );
}

/** @returns the realm, when the login may go there: exactly there, over https. */
function allowedRealm(
  text: string,
  binding: Pick<RegistryBinding, 'registry' | 'realms'>,
  { host, port }: { readonly host: string; readonly port: number },
): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.protocol !== 'https:') {
    throw refused(binding, 'sends it to what is no https URL');
  }
  if (/[?#@]/.test(url.href)) throw refused(binding, 'sends it to a URL with a user or a query');
  const own = new URL(`https://${formatHostPort(host, port)}`).origin;
  const allowed = binding.realms === null ? url.origin === own : binding.realms.includes(url.href);
  if (!allowed) throw refused(binding, `sends it to ${url.origin.slice(0, SHOWN_MAX)}`);
  return url;
}

const SHOWN_MAX = 300; // A host has 253 letters at most; a URL's may have more.

function refused({ registry }: Pick<RegistryBinding, 'registry'>, why: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_REGISTRY_REALM_REFUSED',
    `the login of registry ${registry} is kept back: the registry ${why}`,
  );
}
