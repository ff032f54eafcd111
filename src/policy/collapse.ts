// Many names or paths as few patterns: what a proposal says in place of a hundred lines.

/**
 * @param hosts  distinct names.
 * @param min    so many under one domain become a wildcard; 0: none do.
 * @param may    whether a pattern is one to propose.
 * @returns patterns, each with the names that it stands for: every name is under one.
 */
export function collapseHosts(
  hosts: readonly string[],
  min: number,
  may: (pattern: string) => boolean,
): ReadonlyMap<string, readonly string[]> {
  const items = new Map(hosts.map((host): [string, readonly string[]] => [host, [host]]));
  if (min === 0) return items;
  const merge = (pattern: string, members: readonly string[]): void => {
    const names = members.flatMap((member) => items.get(member) ?? []);
    for (const member of members) items.delete(member);
    items.set(pattern, names);
  };
  for (const [parent, members] of Map.groupBy(hosts, (host) => above(host))) {
    if (isDomain(parent) && members.length >= min && may(`*.${parent}`)) {
      merge(`*.${parent}`, members);
    }
  }
  const domains = new Set(hosts.flatMap((host) => domainsOf(above(host))));
  for (const domain of [...domains].sort((a, b) => depthOf(b) - depthOf(a))) {
    const below = [...items.keys()].filter((item) => item.endsWith(`.${domain}`));
    const isDeep = below.some(
      (item) => item.startsWith('**.') || depthOf(item) > depthOf(domain) + 1,
    );
    if (isDeep && below.length >= min && may(`**.${domain}`)) merge(`**.${domain}`, below);
  }
  return items;
}

function above(host: string): string {
  return host.slice(host.indexOf('.') + 1);
}

function depthOf(name: string): number {
  return name.split('.').length;
}

/** More than a top-level domain. */
function isDomain(name: string): boolean {
  return name.includes('.');
}

/** A domain and those around it. */
function domainsOf(name: string): string[] {
  const labels = name.split('.');
  return labels.map((_, i) => labels.slice(i).join('.')).filter(isDomain);
}

/**
 * @param patterns  of single paths.
 * @returns themselves, or everything below what they have in common when there are `min` or more.
 */
export function collapsePaths(patterns: readonly string[], min: number): readonly string[] {
  if (patterns.length < min) return patterns;
  const [first = [], ...others] = patterns.map((path) => path.split('/').slice(1, -1));
  const common = first.findIndex((segment, i) => others.some((other) => other[i] !== segment));
  const shared = common < 0 ? first : first.slice(0, common);
  return [`/${[...shared, '**'].join('/')}`];
}
