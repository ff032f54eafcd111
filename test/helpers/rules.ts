// Rules as tests write them: what is decided, for which resources, and what else is to be said.
import { parseResources } from '../../src/policy/resource.ts';
import type { Decision, Rule } from '../../src/policy/rule.ts';

export type Written = readonly [decision: Decision, resources: string, more?: Partial<Rule>];

/** A local rule `r` for every sandbox; without protocols, those that its decision has by itself. */
export function ruleOf(...[decision, resources, more]: Written): Rule {
  return {
    id: 'r',
    source: 'local',
    decision,
    scope: 0,
    protocols: decision === 'deny' ? ['tcp', 'udp'] : ['tcp'],
    resources: parseResources(resources),
    ...more,
  };
}

/** A rule for each, ids `r0`, `r1`, ... in order unless given. */
export function rulesOf(...list: readonly Written[]): Rule[] {
  return list.map(([decision, resources, more], i) =>
    ruleOf(decision, resources, { id: `r${i}`, ...more }),
  );
}
