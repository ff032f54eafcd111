// Finds, among very many rules, the few whose resources may have a host in common with one.
import { WITNESS_NAMES_MAX, WITNESS_NEIGHBOURS_MAX } from '../base/limits.ts';
import { commonAddress } from './instances.ts';
import { literalEnd, type Resource } from './resource.ts';
import type { Rule } from './rule.ts';

export type Neighbour = { readonly rule: Rule; readonly resource: Resource };

export class Neighbours {
  readonly #any: Neighbour[] = [];
  readonly #ranges: Neighbour[] = [];
  /** Names by all that every host they cover ends with, `a.b.c` under itself, `b.c`, `c` and ``. */
  readonly #below = new Map<string, Neighbour[]>();
  readonly #exact = new Map<string, Neighbour[]>();
  readonly #allowing: Neighbour[] = [];

  constructor(rules: readonly Rule[]) {
    const seen = new Set<string>();
    for (const rule of rules) {
      for (const resource of rule.resources) {
        const { decision, scope, protocols, http } = rule;
        const name = `${decision} ${scope} ${protocols} ${resource.text} ${JSON.stringify(http)}`;
        if (!seen.has(name)) this.#add({ rule, resource });
        seen.add(name);
      }
    }
  }

  /** At most WITNESS_NEIGHBOURS_MAX of each kind. */
  around(resource: Resource): Neighbour[] {
    if (resource.kind === 'any') {
      return [...this.#any, ...this.#ranges, ...(this.#below.get('') ?? [])].slice(
        0,
        WITNESS_NEIGHBOURS_MAX,
      );
    }
    if (resource.kind === 'cidr') {
      const overlapping = this.#ranges.filter(
        (one) => one.resource.kind === 'cidr' && commonAddress(one.resource, resource) !== null,
      );
      return [...this.#any, ...overlapping].slice(0, WITNESS_NEIGHBOURS_MAX);
    }
    const [end = '', ...above] = endsOf(literalEnd(resource));
    const below = (this.#below.get(end) ?? []).slice(0, WITNESS_NEIGHBOURS_MAX);
    const around = above.flatMap((one) => this.#exact.get(one) ?? []);
    return [...this.#any, ...below, ...around.slice(0, WITNESS_NEIGHBOURS_MAX)];
  }

  /** Some of the allow rules for names. */
  get allowing(): readonly Neighbour[] {
    return this.#allowing;
  }

  #add(one: Neighbour): void {
    const { rule, resource } = one;
    const isForNames = resource.kind !== 'cidr' && rule.decision === 'allow';
    if (isForNames && this.#allowing.length < WITNESS_NAMES_MAX) this.#allowing.push(one);
    if (resource.kind === 'any') this.#any.push(one);
    else if (resource.kind === 'cidr') this.#ranges.push(one);
    else {
      const [end = '', ...above] = endsOf(literalEnd(resource));
      put(this.#exact, end, one);
      for (const name of [end, ...above]) put(this.#below, name, one);
    }
  }
}

/** `a.b.c`, `b.c`, `c`, ``. */
function endsOf(labels: readonly string[]): string[] {
  return Array.from({ length: labels.length + 1 }, (_, i) => labels.slice(i).join('.'));
}

function put(map: Map<string, Neighbour[]>, name: string, one: Neighbour): void {
  const known = map.get(name);
  if (known === undefined) map.set(name, [one]);
  else known.push(one);
}
