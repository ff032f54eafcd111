// Turns rules into the image that the matcher reads. Which rule wins is settled in assembly/rules.ts;
// here each pattern only gets the entries of its rules. Must not depend on where the image will lie.
import {
  ENTRY_DENY,
  ENTRY_HTTP,
  ENTRY_NAMED,
  ENTRY_TCP,
  ENTRY_UDP,
  HEADER_BYTES,
  HEADER_CIDRS,
  HEADER_LENGTH,
  HEADER_MAGIC,
  HEADER_NODES,
  HEADER_RULE_BYTES,
  HEADER_RULE_COUNT,
  HEADER_RULES,
  HEADER_SCOPE_COUNT,
  HEADER_SCOPES,
  HEADER_SLOT_MASK,
  HEADER_SLOTS,
  IMAGE_MAGIC,
  SCOPE_BYTES,
} from '../../assembly/layout.ts';
import { SallyportError } from '../base/errors.ts';
import { IMAGE_BYTES_MAX, RULES_MAX } from '../base/limits.ts';
import { CidrTries } from './compile-cidrs.ts';
import { HostTries, isGlob, mix, type Place } from './compile-hosts.ts';
import { PathPatterns } from './compile-path.ts';
import { longestId, RuleTable } from './compile-rules.ts';
import { Scratch } from './compile-scratch.ts';
import { refuseOver, Sets, Words } from './compile-words.ts';
import { type HttpMatch, methodBits } from './http.ts';
import type { Resource } from './resource.ts';
import type { Protocol, Rule } from './rule.ts';

/** An image in parts that lie one after the other, so that it is copied once, to its place. */
export type CompiledImage = {
  readonly bytes: number;
  readonly rules: number;
  /** Header first; HEADER_GENERATION is 0 in it and set at publication. */
  readonly parts: readonly Uint8Array[];
};

export type CompileOptions = {
  /** Start of the name hashes; random in the daemon, so that nobody can prepare collisions. */
  readonly seed?: number;
  readonly bytesMax?: number;
  /** Buffers of an earlier compilation whose image has been copied. */
  readonly scratch?: Scratch;
};

type Scope = {
  readonly number: number;
  any: number;
  hosts: number;
  readonly state: number;
  ipv4: number;
  ipv6: number;
};

/**
 * Compiles all rules in force to one image.
 *
 * @param rules  0..RULES_MAX rules in normal form; of rules that decide alike the earlier is named.
 * @throws       SALLYPORT_POLICY_TOO_LARGE for more rules, or an image over IMAGE_BYTES_MAX.
 *
 * Time is linear in the bytes of labels and ids (bench/publish.bench.ts has the figure).
 */
export function compile(rules: readonly Rule[], options: CompileOptions = {}): CompiledImage {
  if (rules.length > RULES_MAX) {
    throw new SallyportError(
      'SALLYPORT_POLICY_TOO_LARGE',
      `the policy has ${rules.length} rules; at most ${RULES_MAX} are possible`,
    );
  }
  const scratch = options.scratch ?? new Scratch();
  const builder = new Builder(rules.length, options.seed ?? 0, scratch);
  const table = new RuleTable(rules.length, longestId(rules), scratch);
  for (let index = 0; index < rules.length; index++) {
    const rule = rules[index];
    if (rule === undefined) continue;
    table.add(rule);
    builder.add(rule, index);
  }
  return assemble(builder, table, options.bytesMax ?? IMAGE_BYTES_MAX);
}

class Builder {
  readonly words = new Words();
  readonly sets = new Sets(this.words);
  readonly hosts: HostTries;
  readonly cidrs = new CidrTries(this.sets);
  readonly #paths = new PathPatterns(this.words);
  readonly #scopes = new Map<number, Scope>();
  readonly #seed: number;
  readonly #place: Place = { node: 0, state: 0 };

  constructor(rules: number, seed: number, scratch: Scratch) {
    this.hosts = new HostTries(this.words, this.sets, rules, scratch);
    this.#seed = seed;
  }

  add(rule: Rule, index: number): void {
    const scope = this.#scope(rule.scope);
    const flags = protocolFlags(rule.protocols) | (rule.decision === 'deny' ? ENTRY_DENY : 0);
    const http = rule.http === undefined ? null : this.#http(rule.http, index);
    for (const resource of rule.resources) {
      if (http === null) this.#addResource(scope, resource, flags, index);
      else for (const one of http) this.#addResource(scope, resource, flags | ENTRY_HTTP, one);
    }
  }

  /** @returns one entry a path, as Sets.add takes it. */
  #http(match: HttpMatch, index: number): number[] {
    const methods = methodBits(match);
    return match.paths.map((path) =>
      this.sets.http({ rule: index, methods, pattern: this.#paths.add(path) }),
    );
  }

  #addResource(scope: Scope, resource: Resource, flags: number, index: number): void {
    const { port } = resource;
    if (resource.kind === 'any') {
      scope.any = this.sets.add(scope.any, port, flags, index);
    } else if (resource.kind === 'host') {
      this.#addHost(scope, resource, flags, index);
    } else {
      const root = this.#cidrRoot(scope, resource.bytes.length);
      const { bytes, prefixLength } = resource;
      this.cidrs.add(root, bytes, prefixLength, port, flags | ENTRY_NAMED, index);
    }
  }

  #addHost(
    scope: Scope,
    { labels, prefix, port }: Resource & { kind: 'host' },
    flags: number,
    index: number,
  ): void {
    const place = this.#place;
    if (scope.hosts === 0) scope.hosts = this.hosts.root(scope.state);
    place.node = scope.hosts;
    place.state = scope.state;
    for (let i = labels.length - 1; i >= 0; i--) this.hosts.descend(place, labels[i] ?? '');
    if (prefix === 'none') {
      const named = labels.some(isGlob) ? 0 : ENTRY_NAMED;
      this.hosts.addExact(place.node, port, flags | named, index);
    } else {
      this.hosts.addWildcard(place.node, prefix, port, flags, index);
    }
  }

  #cidrRoot(scope: Scope, bytes: number): number {
    const family = bytes === 4 ? 'ipv4' : 'ipv6';
    if (scope[family] === 0) scope[family] = this.cidrs.root();
    return scope[family];
  }

  #scope(number: number): Scope {
    const known = this.#scopes.get(number);
    if (known !== undefined) return known;
    const state = mix(this.#seed ^ Math.imul(number, 0x9e3779b1));
    const scope: Scope = { number, any: 0, hosts: 0, state, ipv4: 0, ipv6: 0 };
    this.#scopes.set(number, scope);
    return scope;
  }

  /** Writes what is still in lists, and returns the scope table. */
  seal(): Uint32Array {
    this.hosts.seal();
    this.cidrs.seal();
    const scopes = [...this.#scopes.values()].sort((a, b) => a.number - b.number);
    return Uint32Array.from(
      scopes.flatMap(({ number, any, hosts, state, ipv4, ipv6 }) => [
        number,
        this.sets.seal(any),
        hosts,
        state,
        ipv4,
        ipv6,
      ]),
    );
  }
}

function protocolFlags(protocols: readonly Protocol[]): number {
  let flags = 0;
  for (const protocol of protocols) flags |= protocol === 'tcp' ? ENTRY_TCP : ENTRY_UDP;
  return flags;
}

/** Lays the regions out one after the other and writes the header that says where they are. */
function assemble(builder: Builder, table: RuleTable, bytesMax: number): CompiledImage {
  const scopes = builder.seal();
  const header = new Uint32Array(HEADER_BYTES / 4);
  const parts: Uint8Array[] = [bytesOf(header)];
  let bytes = HEADER_BYTES;
  const append = (part: Uint32Array | Uint8Array): number => {
    const offset = bytes;
    parts.push(bytesOf(part));
    bytes += part.byteLength;
    return offset;
  };
  append(builder.words.array);
  header[HEADER_SCOPES / 4] = append(scopes);
  header[HEADER_SCOPE_COUNT / 4] = (scopes.length * 4) / SCOPE_BYTES;
  append(new Uint8Array(-bytes & 63)); // A node must not straddle more cache lines than it needs.
  header[HEADER_SLOTS / 4] = append(builder.hosts.slots);
  header[HEADER_SLOT_MASK / 4] = builder.hosts.slots.length - 1;
  header[HEADER_NODES / 4] = append(builder.hosts.nodes);
  header[HEADER_CIDRS / 4] = append(builder.cidrs.nodes);
  header[HEADER_RULE_COUNT / 4] = table.count;
  header[HEADER_RULE_BYTES / 4] = table.recordBytes;
  header[HEADER_RULES / 4] = append(table.records);
  refuseOver(bytes, bytesMax);
  header[HEADER_MAGIC / 4] = IMAGE_MAGIC;
  header[HEADER_LENGTH / 4] = bytes;
  return { bytes, rules: table.count, parts };
}

function bytesOf(part: Uint32Array | Uint8Array): Uint8Array {
  return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
}
