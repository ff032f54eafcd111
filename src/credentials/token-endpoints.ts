// The token endpoints that are declared: which requests go to one, and what stands for tokens in a
// sandbox: a text of its own in each, that nobody can guess, in the form that clients expect.
import { GLOBAL_SCOPE } from '../policy/rule.ts';
import type { ServiceBinding, TokenEndpoint } from './binding.ts';
import { placeholderFor, placeholderPattern } from './placeholder.ts';
import { couldMean } from './request-parts.ts';

/** What a sandbox is given in place of tokens. */
export type TokenSentinels = { readonly access: string; readonly refresh: string };

/** A binding with its token endpoint. */
export type Declared = ServiceBinding & { readonly tokenEndpoint: TokenEndpoint };

/** Where a request goes. */
export type Asked = {
  /** Normal form. */
  readonly host: string;
  /** null: any, for a request without TLS. */
  readonly port: number | null;
  readonly path: string;
};

/** @param scope  number of the sandbox. */
export function tokenSentinels(
  { placeholderKey, templates }: Pick<TokenEndpoint, 'placeholderKey' | 'templates'>,
  scope: number,
): TokenSentinels {
  const of = (kind: string, placeholder: string): string =>
    placeholderFor({ placeholder, placeholderKey: `${placeholderKey} ${kind}` }, scope);
  return { access: of('access', templates.access), refresh: of('refresh', templates.refresh) };
}

/** Regular expressions for the sentinels of all sandboxes. */
export function sentinelPatterns({ tokenEndpoint }: ServiceBinding): string[] {
  if (tokenEndpoint === undefined) return [];
  return Object.values(tokenEndpoint.templates).map((placeholder) =>
    placeholderPattern({ placeholder }),
  );
}

/** Whether a sentinel for these tokens stands in a text, whichever sandbox's. */
export function holdsSentinel(binding: ServiceBinding, text: string): boolean {
  return sentinelPatterns(binding).some((pattern) => new RegExp(pattern).test(text));
}

/** Whether a text is one of the sentinels that stand for these tokens in this sandbox. */
export function isOwnSentinel(
  { tokenEndpoint }: Pick<ServiceBinding, 'tokenEndpoint'>,
  scope: number,
  text: string,
): boolean {
  if (tokenEndpoint === undefined) return false;
  return Object.values(tokenSentinels(tokenEndpoint, scope)).includes(text);
}

const NONE: readonly never[] = [];

export class TokenEndpoints {
  readonly #declared: readonly Declared[];
  readonly #sentinels: RegExp | null;

  constructor(bindings: readonly ServiceBinding[]) {
    this.#declared = bindings.filter((one): one is Declared => one.tokenEndpoint !== undefined);
    const patterns = new Set(this.#declared.flatMap(sentinelPatterns));
    this.#sentinels = patterns.size === 0 ? null : new RegExp([...patterns].join('|'), 'g');
  }

  /** Whether there is one. */
  has(scope: number, host: string, port: number): boolean {
    return this.#declared.some(
      ({ tokenEndpoint, ...one }) =>
        isFor(one, scope) && tokenEndpoint.host === host && tokenEndpoint.port === port,
    );
  }

  /** The credentials whose token endpoint a request could go to, the sandbox's own before global ones. */
  at(scope: number, { host, port, path }: Asked): readonly Declared[] {
    if (this.#declared.length === 0) return NONE;
    const meant = this.#declared.filter(
      ({ tokenEndpoint, ...one }) =>
        isFor(one, scope) &&
        tokenEndpoint.host === host &&
        (port === null || tokenEndpoint.port === port) &&
        couldMean(path, tokenEndpoint.path),
    );
    return meant.sort((a, b) => b.scope - a.scope);
  }

  /** Whether a text for an endpoint of these holds a sentinel of another one, or of another sandbox. */
  isMisused(declared: readonly Declared[], scope: number, text: string): boolean {
    if (this.#sentinels === null) return false;
    const found = text.match(this.#sentinels) ?? [];
    return found.some((one) => !declared.some((binding) => isOwnSentinel(binding, scope, one)));
  }
}

function isFor(binding: Pick<ServiceBinding, 'scope'>, scope: number): boolean {
  return binding.scope === GLOBAL_SCOPE || binding.scope === scope;
}
