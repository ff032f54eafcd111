// `policy inspect`: one rule, or one policy with its rules, and how to remove each.
import { SallyportError } from '../../base/errors.ts';
import { INSPECTED_RULES_MAX } from '../../base/limits.ts';
import { quoted } from '../../policy/remedy.ts';
import type { Inspected } from '../api/schemas.ts';
import { type Listed, listRules, type RuleListing } from './listing.ts';
import type { ScopeNames } from './policy.ts';

/**
 * Finds what a selector means: an id or a name, with `rule:` or `policy:` before it where both fit.
 *
 * @throws SALLYPORT_NOT_FOUND, SALLYPORT_USAGE for several, naming them.
 */
export function inspect(
  selector: string,
  services: {
    readonly policy: Listed;
    readonly sandboxes: ScopeNames;
  },
): Inspected {
  const { policy, sandboxes } = services;
  const [, kind, text = ''] = /^(?:(rule|policy):)?(?:local:)?(.*)$/s.exec(selector) ?? [];
  const found = new Map<string, RuleListing[]>();
  for (const listing of listRules(policy, sandboxes, { type: 'all', inactive: true })) {
    for (const name of selectorsOf(listing, kind, text)) {
      const rules = found.get(name) ?? [];
      if (rules.push(listing) > INSPECTED_RULES_MAX) throw tooMany(name);
      found.set(name, rules);
    }
  }
  const [rules, ...others] = found.values();
  if (rules === undefined) {
    throw new SallyportError('SALLYPORT_NOT_FOUND', `no rule or policy "${selector}" found`);
  }
  if (others.length > 0) {
    const candidates = [...found.keys()].map((name) => `\n  ${name}`).join('');
    throw new SallyportError(
      'SALLYPORT_USAGE',
      `ambiguous policy or rule selector "${selector}"; candidates:${candidates}`,
    );
  }
  return answer(rules);
}

type Commands = 'remove_command' | 'override_command';

/** The type-qualified selectors of a listing that the text stands for. */
function selectorsOf(listing: RuleListing, kind: string | undefined, text: string): string[] {
  const { id, name, policy_id: policyId, policy_name: policyName } = listing;
  const selectors: string[] = [];
  // The rules of a kit are called like it; its name alone means all of them.
  const isNamed = name === text && name !== policyId;
  if (kind !== 'policy' && (id === text || isNamed)) selectors.push(`rule:${id}`);
  if (kind !== 'rule' && (policyId === text || policyName === text)) {
    selectors.push(`policy:${policyId}`);
  }
  return selectors;
}

function answer(rules: readonly RuleListing[]): Inspected {
  const [first] = rules;
  if (first === undefined) throw new TypeError('a selector without rules');
  const { policy_id: id, policy_name: name = id, layer: source } = first;
  return {
    policy: { id, name, source },
    rules: rules.map((rule) => ({ ...rule, ...removal(rule) })),
  };
}

function removal(rule: RuleListing): Pick<Inspected['rules'][number], Commands> {
  const { id, editable, resource_type: type, layer, decision, sandbox_id: sandbox } = rule;
  const domain = type.startsWith('filesystem') ? 'filesystem' : 'network';
  if (editable) return { remove_command: `sbx policy rm ${domain} --id ${id}` };
  if (layer !== 'kit' || sandbox === undefined) return {};
  if (decision === 'deny') return {};
  const { resources, methods, paths = [] } = rule;
  const words = `sbx policy deny network --sandbox ${sandbox} ${quoted(resources.join(','))}`;
  if (methods === undefined) return { override_command: words };
  const requests = [
    `--method ${methods.join(',')}`,
    ...paths.map((path) => `--path ${quoted(path)}`),
  ];
  return { override_command: [words, ...requests].join(' ') };
}

function tooMany(name: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_USAGE',
    `${name} has more than ${INSPECTED_RULES_MAX} rules; list them with \`sbx policy ls\``,
  );
}
