// Sets of ports, as ranges in order: what other proxies write in one word, and rules here port by port.

export type PortRange = readonly [from: number, to: number];
export type Ports = readonly PortRange[];

const ALL: Ports = [[1, 65_535]];

/** `80`, `1025-65535`; null for anything else. */
export function readPorts(text: string): PortRange | null {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range: PortRange = [Number(from), Number(to)];
  return from !== undefined && range[0] <= range[1] && range[1] <= 65_535 ? range : null;
}

/** In order, nothing twice; port 0 is none. */
export function unionOf(ranges: readonly PortRange[]): Ports {
  const sorted = ranges.map(([from, to]): PortRange => [Math.max(1, from), to]).sort(byStart);
  const union: [number, number][] = [];
  for (const [from, to] of sorted.filter(([from, to]) => from <= to)) {
    const last = union.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
}

function byStart([a]: PortRange, [b]: PortRange): number {
  return a - b;
}

export function intersectionOf(one: Ports, other: Ports): Ports {
  return unionOf(
    one.flatMap(([from, to]) =>
      other
        .map(([a, b]): PortRange => [Math.max(from, a), Math.min(to, b)])
        .filter(([a, b]) => a <= b),
    ),
  );
}

export function complementOf(ports: Ports): Ports {
  const edges = [0, ...ports.flatMap(([from, to]) => [from - 1, to + 1]), 65_536];
  const gaps: PortRange[] = [];
  for (let i = 0; i < edges.length; i += 2) {
    const from = i === 0 ? 1 : (edges[i] ?? 0);
    gaps.push([from, edges[i + 1] === 65_536 ? 65_535 : (edges[i + 1] ?? 0)]);
  }
  return unionOf(gaps.filter(([from, to]) => from <= to));
}

export function isAllPorts(ports: Ports): boolean {
  return JSON.stringify(ports) === JSON.stringify(ALL);
}

/** @returns the ports of all ranges that are no longer than `max`, one by one, and the others */
export function listedPorts(ports: Ports, max: number): { listed: number[]; left: Ports } {
  const isShort = ([from, to]: PortRange): boolean => to - from < max;
  const listed = ports
    .filter(isShort)
    .flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  return { listed, left: ports.filter((range) => !isShort(range)) };
}
