// squid's http_access as rules. There the first line that matches decides; here deny wins. What is
// allowed here is never more than there: a deny that cannot be said is taken for a wider one, an allow
// that cannot is left out, and each is reported.
import { covers } from '../policy/covers.ts';
import { commonHost } from '../policy/instances.ts';
import { formatHostPort, type Resource } from '../policy/resource.ts';
import type { DocumentRule } from './document.ts';
import {
  type Imported,
  importedDocument,
  importedResources,
  importedRule,
  type Loss,
} from './import.ts';
import { complementOf, intersectionOf, isAllPorts, listedPorts, type Ports } from './ports.ts';
import { type AccessLine, type Acl, CONDITION, readSquidConfig } from './squid-config.ts';

/** Where a request leads, as far as squid's ACLs say. */
type Place = {
  /** Null: anywhere. */
  readonly hosts: readonly Resource[] | null;
  readonly ports: Ports;
};

type Statement = Place & {
  readonly decision: 'allow' | 'deny';
  readonly line: Pick<AccessLine, 'at' | 'text'>;
  /** It is about its own line alone, not about all behind it. */
  readonly isException?: boolean;
};

const ALL_PORTS: Ports = [[1, 65_535]];
const ANYWHERE: Place = { hosts: null, ports: ALL_PORTS };
const BOTH = 'names and addresses cannot be asked for at once';
const PORTS_MAX = 16; // Of one range; more are not written out one by one.

/**
 * @param name  of the file.
 * @param readList  the text of a file that an ACL names, or null when it cannot be had.
 */
export function importSquid(
  text: string,
  name: string,
  readList: (path: string) => string | null,
): Imported {
  const config = readSquidConfig(text, name, readList);
  const conversion = new Conversion(config.losses);
  for (const line of config.lines) conversion.add(line);
  conversion.end(config.lines.at(-1));
  return { document: importedDocument(conversion.rules()), losses: conversion.losses };
}

class Conversion {
  readonly losses: Loss[];
  readonly #statements: Statement[] = [];
  /** What lines from here on can still be about: others were denied. */
  #limit: Place = { hosts: null, ports: ALL_PORTS };
  /** The line behind which nothing is allowed any more. */
  #closed: AccessLine | null = null;

  constructor(losses: readonly Loss[]) {
    this.losses = [...losses];
  }

  add(line: AccessLine): void {
    if (this.#closed !== null) {
      const why = `${this.#closed.at} denies everything before it`;
      if (line.decision === 'allow') this.#lose('left-out', line, why);
      return;
    }
    if (
      line.terms.some(
        ({ acl, negated }) =>
          acl.kind !== 'client' && isEverything(acl) === negated && isSettled(acl),
      )
    )
      return;
    const terms = line.terms.filter((term) => !this.#isMet(line, term));
    if (terms.some(({ acl }) => isSettled(acl))) return;
    if (line.decision === 'allow') this.#allow({ ...line, terms });
    else this.#deny({ ...line, terms });
  }

  /** Who asks is a sandbox, whoever squid's clients are; that it is one of them is assumed. */
  #isMet(line: AccessLine, { acl, negated }: AccessLine['terms'][number]): boolean {
    if (acl.kind === 'client') {
      this.#lose('assumed', line, `your sandboxes are among acl ${acl.name} (${acl.type})`);
    }
    return isSettled(acl) && isEverything(acl) !== negated;
  }

  /** If no line matches, squid does the opposite of the last. */
  end(last: AccessLine | undefined): void {
    if (last?.decision !== 'deny' || this.#closed !== null) return;
    if (last.terms.some(({ acl }) => acl === CONDITION)) return; // It may not be the last.
    const line = { at: last.at, text: 'what no line matches is allowed, as the last one denies' };
    this.#emit({ decision: 'allow', line, hosts: null, ports: ALL_PORTS });
  }

  rules(): DocumentRule[] {
    return this.#statements.flatMap((one, i) => {
      if (one.decision === 'deny' && !this.#isNeeded(one, i)) return [];
      return this.#rule(one);
    });
  }

  /** A deny with nothing behind it that would be allowed says nothing. */
  #isNeeded(deny: Statement, index: number): boolean {
    const overlaps = (other: Statement): boolean => other.decision === 'allow' && meet(deny, other);
    const behind = this.#statements.slice(index + 1).filter(overlaps);
    if (behind.length === 0) return false;
    const before = this.#statements.slice(0, index).find(overlaps);
    const beside = deny.isException ? behind.find(({ line }) => line !== deny.line) : undefined;
    const other = before ?? beside;
    if (other !== undefined) {
      this.#lose(
        'narrower',
        deny.line,
        `it denies, too, what ${other.line.at} allows; here deny wins`,
      );
    }
    return true;
  }

  #allow(line: AccessLine): void {
    const { terms } = line;
    const unsayable = terms.find(
      ({ acl, negated }) => acl.kind === 'unknown' || (negated && acl.isPart),
    );
    if (unsayable !== undefined) {
      const { name, type } = unsayable.acl;
      this.#lose('left-out', line, `a policy has nothing for acl ${name} (${type})`);
      return;
    }
    const places = terms.flatMap(({ acl, negated }) => placesOf(acl, negated));
    const place = places.reduce<Place | null>(
      (one, other) => one && narrowed(one, other),
      ANYWHERE,
    );
    if (place === null) return void this.#lose('left-out', line, BOTH);
    // What an allow leaves out becomes a deny.
    for (const { acl, negated } of terms) {
      if (!negated || acl.kind === 'ports') continue;
      const except = { hosts: acl.resources, ports: ALL_PORTS, isException: true };
      this.#statements.push({ decision: 'deny', line, ...except });
    }
    this.#emit({ decision: 'allow', line, ...place });
  }

  #deny(line: AccessLine): void {
    for (const { acl } of line.terms.filter((term) => !isSayable(term))) {
      const why = `a policy has nothing for acl ${acl.name} (${acl.type}), so it denies without it`;
      this.#lose('narrower', line, why);
    }
    const known = line.terms.filter(isSayable);
    const positive = known.filter(({ negated }) => !negated).map(({ acl }) => acl);
    if (known.length === 0) this.#closed = line;
    else if (positive.length > 0) this.#denySome(line, positive, known.length);
    else
      this.#denyAllBut(
        line,
        known.map(({ acl }) => acl),
      );
  }

  /** @param count  of conditions; what is not used of them would deny less */
  #denySome(line: AccessLine, acls: readonly Acl[], count: number): void {
    const ports = acls.filter(({ kind }) => kind === 'ports').map((acl) => acl.ports);
    const [hosts] = acls.filter(({ kind }) => kind !== 'ports');
    if (count > ports.length + (hosts === undefined ? 0 : 1)) {
      this.#lose('narrower', line, 'only some of its conditions can be said at once');
    }
    const all = ports.reduce(intersectionOf, ALL_PORTS);
    if (hosts === undefined) {
      const left = intersectionOf(this.#limit.ports, complementOf(all));
      this.#limit = { ...this.#limit, ports: left };
    } else {
      const place = this.#sayable({ hosts: hosts.resources, ports: all }, line);
      this.#statements.push({ decision: 'deny', line, ...place });
    }
  }

  /** `deny !a !b` leaves what is in a or in b; to leave what is in one of them alone denies more. */
  #denyAllBut(line: AccessLine, acls: readonly Acl[]): void {
    const [acl, ...others] = acls;
    if (acl === undefined) return;
    if (others.length > 0)
      this.#lose('narrower', line, `it leaves only what is in acl ${acl.name}`);
    const place: Place =
      acl.kind === 'ports'
        ? { hosts: null, ports: acl.ports }
        : { hosts: acl.resources, ports: ALL_PORTS };
    const limit = narrowed(this.#limit, place);
    if (limit === null) {
      this.#lose(
        'narrower',
        line,
        'names and addresses cannot be asked for at once, so it denies everything',
      );
      this.#closed = line;
    } else this.#limit = limit;
  }

  /** A deny of few ports of a host is one of the host if they cannot be written out. */
  #sayable(place: Place, line: AccessLine): Place {
    const isRange = place.hosts?.some(({ kind }) => kind === 'cidr') === true;
    const { left } = listedPorts(place.ports, PORTS_MAX);
    if (isAllPorts(place.ports) || (left.length === 0 && !isRange)) return place;
    this.#lose('narrower', line, 'its ports cannot be written out, so it denies all of them');
    return { ...place, ports: ALL_PORTS };
  }

  #emit(statement: Statement): void {
    const place = narrowed(statement, this.#limit);
    const { line } = statement;
    if (place === null) return void this.#lose('left-out', line, BOTH);
    if (place.hosts?.some(({ kind }) => kind === 'cidr')) {
      this.#lose('left-out', line, 'names that lead to its addresses have to be allowed by name');
    }
    if (!isAllPorts(place.ports)) {
      const { left } = listedPorts(place.ports, PORTS_MAX);
      const text = left.map(([from, to]) => `${from}-${to}`).join(', ');
      if (left.length > 0)
        this.#lose('left-out', line, `ports ${text} are too many to be written out`);
    }
    this.#statements.push({ ...statement, ...place });
  }

  #rule({ decision, hosts, ports, line }: Statement): DocumentRule[] {
    const texts = (hosts ?? [null]).flatMap((host) => this.#texts(host, ports, line));
    const sayable = texts.filter((text) => typeof importedResources(decision, text) !== 'string');
    for (const text of texts.filter((one) => !sayable.includes(one))) {
      this.#lose('left-out', line, `${text}: ${importedResources(decision, text)}`);
    }
    return sayable.length === 0 ? [] : [importedRule(decision, sayable, line.at)];
  }

  #texts(host: Resource | null, ports: Ports, line: Statement['line']): string[] {
    const text = host?.text ?? '**';
    if (isAllPorts(ports)) return [text];
    const { listed } = listedPorts(ports, PORTS_MAX);
    if (host?.kind !== 'cidr') return listed.map((port) => `${text}:${port}`);
    const address = /^([^/]*?)(?:\/(?:32|128))?$/.exec(text)?.[1];
    if (address !== undefined) return listed.map((port) => formatHostPort(address, port));
    this.#lose('left-out', line, `${text}: a range takes no port`);
    return [];
  }

  #lose(effect: Loss['effect'], { at, text }: Pick<AccessLine, 'at' | 'text'>, why: string): void {
    this.losses.push({ effect, at, what: text, why });
  }
}

/** Whether a condition is one that all sandboxes meet, or none does. */
function isSettled({ kind }: Acl): boolean {
  return kind === 'all' || kind === 'client' || kind === 'never';
}

function isEverything({ kind }: Acl): boolean {
  return kind === 'all' || kind === 'client';
}

/** What a condition of an allow leaves; what it leaves out by name is another matter. */
function placesOf({ kind, ports, resources }: Acl, negated: boolean): Place[] {
  if (kind === 'ports') return [{ hosts: null, ports: negated ? complementOf(ports) : ports }];
  return negated ? [] : [{ hosts: resources, ports: ALL_PORTS }];
}

/** Whether a deny can be said with it; a part of a list denies less than the list. */
function isSayable({ acl, negated }: AccessLine['terms'][number]): boolean {
  return acl.kind !== 'unknown' && (negated || !acl.isPart);
}

/** What is in both; null when that cannot be said. */
function narrowed(one: Place, other: Place): Place | null {
  const ports = intersectionOf(one.ports, other.ports);
  if (one.hosts === null || other.hosts === null) return { hosts: one.hosts ?? other.hosts, ports };
  const kinds = new Set([...one.hosts, ...other.hosts].map(({ kind }) => kind));
  if (kinds.size > 1) return null;
  const [own, others] = [one.hosts, other.hosts];
  const hosts = [
    ...own.filter((host) => others.some((wide) => covers(wide, host))),
    ...others.filter((host) => own.some((wide) => covers(wide, host) && !covers(host, wide))),
  ];
  return { hosts, ports };
}

/** Whether they may have a request in common; addresses may be where any name leads. */
function meet(one: Place, other: Place): boolean {
  if (intersectionOf(one.ports, other.ports).length === 0) return false;
  if (one.hosts === null || other.hosts === null) return true;
  return one.hosts.some((host) =>
    other.hosts?.some((more) => {
      if (host.kind !== 'host' || more.kind !== 'host') return true;
      return commonHost(host, more) !== null;
    }),
  );
}
