// Looks for a request that two policies decide differently because of one statement: first plain ones
// that it covers, then what it has in common with rules near it. It tries at most WITNESS_TRIES_MAX.
import { WITNESS_SCOPES_MAX, WITNESS_TRIES_MAX } from '../base/limits.ts';
import { type Address, isAddress } from './address.ts';
import type { Matcher } from './decision.ts';
import { touches } from './explain.ts';
import { type Host, parseHost } from './host.ts';
import { type HttpMatch, httpMatches } from './http.ts';
import {
  addressInstances,
  commonAddress,
  commonHost,
  hostInstances,
  pathInstances,
} from './instances.ts';
import type { AddressGuard, AskedRequest } from './judge.ts';
import { type Neighbour, Neighbours } from './neighbours.ts';
import { type Judgement, judgeProbe, type Probe } from './probe.ts';
import type { Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';

/** A rule with one resource and, if it is for some requests, one path: the least that can change. */
export type Statement = Rule;

/** Rules with a matcher over them. */
export type Judged = { readonly rules: readonly Rule[]; readonly matcher: Matcher };

export type Witness = Probe & {
  readonly before: 'allow' | 'deny';
  readonly after: 'allow' | 'deny';
};

const PORTS = [443, 80, 8443];
const METHODS_TRIED = ['GET', 'POST', 'BREW']; // The last is in no rule but by ANY.
const NAMES = ['witness.example', 'w.witness.example', 'localhost'];
const ADDRESSES = ['8.8.8.8', '2606:4700::1111', '10.0.0.1', '127.0.0.1', '::1'] as Address[];

export class WitnessSearch {
  readonly #before: Judged;
  readonly #after: Judged;
  readonly #guard: AddressGuard;
  readonly #near: Neighbours;
  readonly #scopes: readonly number[];

  constructor(before: Judged, after: Judged, guard: AddressGuard) {
    const rules = [...before.rules, ...after.rules];
    const scopes = new Set([GLOBAL_SCOPE, ...rules.map(({ scope }) => scope)]);
    this.#before = before;
    this.#after = after;
    this.#guard = guard;
    this.#near = new Neighbours(rules);
    this.#scopes = [...scopes].slice(0, WITNESS_SCOPES_MAX);
  }

  /** @returns a request that the statement covers, and that is decided as it says only with it */
  find(op: 'add' | 'remove', statement: Statement): Witness | null {
    const opens = (op === 'add') === (statement.decision === 'allow');
    const [from, to] = opens ? (['deny', 'allow'] as const) : (['allow', 'deny'] as const);
    let tries = 0;
    for (const probe of this.#probes(statement)) {
      if (++tries > WITNESS_TRIES_MAX) return null;
      const { before, after } = this.#judged(probe);
      if (before === from && after === to) return { ...probe, before, after };
    }
    return null;
  }

  #judged(probe: Probe): Record<'before' | 'after', Judgement['action']> {
    return {
      before: judgeProbe(this.#before.matcher, probe, this.#guard).action,
      after: judgeProbe(this.#after.matcher, probe, this.#guard).action,
    };
  }

  *#probes(statement: Statement): Iterable<Probe> {
    const [resource] = statement.resources;
    if (resource === undefined) return;
    const plain = { rule: statement, resource };
    for (const scope of statement.scope === GLOBAL_SCOPE ? this.#scopes : [statement.scope]) {
      yield* probesOf(statement, { ...plain, rule: { ...statement, scope } }, hostsOf(resource));
    }
    for (const near of this.#near.around(resource)) {
      yield* probesOf(statement, near, commonHosts(resource, near.resource));
    }
    if (resource.kind === 'cidr') yield* this.#leadingTo(statement, addressInstances(resource));
  }

  /** Names that are allowed, and lead to addresses that the statement is about. */
  *#leadingTo(statement: Statement, addresses: readonly Address[]): Iterable<Probe> {
    for (const near of this.#near.allowing) {
      const wide = { ...statement, resources: [near.resource] };
      for (const probe of probesOf(wide, near, hostsOf(near.resource).slice(0, 2))) {
        for (const address of addresses) yield { ...probe, address };
      }
    }
  }
}

/** What both a statement and a rule near it may be asked, of these hosts. */
function* probesOf(
  statement: Statement,
  { rule, resource: near }: Neighbour,
  hosts: readonly string[],
): Iterable<Probe> {
  const [resource] = statement.resources;
  if (resource === undefined) return;
  const scope = statement.scope === GLOBAL_SCOPE ? rule.scope : statement.scope;
  const requests = requestsOf(statement, rule);
  const questions = hosts
    .flatMap(hostOf)
    .flatMap((host) => portsOf(resource, near).map((port) => ({ scope, host, port })))
    .flatMap((one) => statement.protocols.map((protocol) => ({ ...one, protocol })))
    .filter((question) => touches(statement, question) !== null);
  for (const question of questions) {
    for (const request of question.protocol === 'tcp' ? requests : [null]) {
      yield { ...question, request, address: null };
    }
  }
}

/** None for what has the shape of a host and is none. */
function hostOf(text: string): (Host | Address)[] {
  if (isAddress(text)) return [text];
  try {
    return [parseHost(text)];
  } catch {
    return [];
  }
}

function hostsOf(resource: Resource): readonly string[] {
  if (resource.kind === 'host') return hostInstances(resource);
  return resource.kind === 'cidr' ? addressInstances(resource) : [...NAMES, ...ADDRESSES];
}

function commonHosts(one: Resource, other: Resource): readonly string[] {
  if (one.kind === 'any') return hostsOf(other);
  if (other.kind === 'any') return hostsOf(one);
  const common =
    one.kind === 'host'
      ? other.kind === 'host' && commonHost(one, other)
      : other.kind === 'cidr' && commonAddress(one, other);
  return common === false || common === null ? [] : [common];
}

function portsOf(one: Resource, other: Resource): readonly number[] {
  if (one.port !== 0) return [one.port];
  return other.port === 0 ? PORTS : [other.port, ...PORTS];
}

/** The connection as a whole too, unless the statement is for some requests only. */
function requestsOf({ http }: Statement, { http: near }: Rule): readonly (AskedRequest | null)[] {
  if (http === undefined && near === undefined) return [null, { method: 'GET', target: '/' }];
  const paths = [...(http?.paths ?? ['/**']), ...(near?.paths ?? [])].flatMap(pathInstances);
  const methods = [...(http?.methods ?? []), ...(near?.methods ?? []), ...METHODS_TRIED];
  const asked = [...new Set(paths)].flatMap((target) =>
    [...new Set(methods)].map((method) => ({ method, target })),
  );
  if (http === undefined) return [null, ...asked];
  return asked.filter(({ method, target }) => covers(http, method, target));
}

function covers(http: HttpMatch, method: string, path: string): boolean {
  return httpMatches(http, { method, path });
}
