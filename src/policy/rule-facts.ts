// What a rule must be before it is taken, wherever it was written. Every fault of it is named at once.
import { SallyportError } from '../base/errors.ts';
import { type HttpMatch, parseHttpMatch } from './http.ts';
import { checkForDecision, parseResources, type Resource } from './resource.ts';
import type { Decision, Protocol, Rule } from './rule.ts';

/** A rule as people write it. */
export type RuleInput = {
  readonly decision: Decision;
  /** Comma lists; together the resources of one rule. */
  readonly resources: readonly string[];
  /** Absent: tcp for allow, tcp and udp for deny. */
  readonly protocols?: readonly Protocol[] | undefined;
  /** An HTTP rule: these methods, or ANY; with paths, else all of them. */
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
};

/** What of a rule comes from whoever writes it. */
export type RuleFacts = Pick<Rule, 'protocols' | 'resources'> & { readonly http?: HttpMatch };

/** @throws SALLYPORT_POLICY_INVALID naming every fault */
export function ruleFacts({
  decision,
  resources: lists,
  protocols,
  methods = [],
  paths = [],
}: RuleInput): RuleFacts {
  const resources = parseResources(lists.join(','));
  checkForDecision(decision, resources);
  if (methods.length + paths.length === 0) {
    return { resources, protocols: protocolsOf(decision, protocols) };
  }
  checkForHttp(resources, protocols);
  return { resources, protocols: ['tcp'], http: parseHttpMatch(methods, paths) };
}

/** A deny is for both transports unless it says otherwise, an allow for tcp. */
export function protocolsOf(decision: Decision, wanted?: readonly Protocol[]): readonly Protocol[] {
  if (wanted !== undefined) return [...new Set(wanted)].sort();
  return decision === 'allow' ? ['tcp'] : ['tcp', 'udp'];
}

/** An address says nothing of whose requests go there. @throws SALLYPORT_POLICY_INVALID naming all */
function checkForHttp(
  resources: readonly Resource[],
  protocols: readonly Protocol[] | undefined,
): void {
  const faults = resources
    .filter(({ kind }) => kind === 'cidr')
    .map(({ text }) => `${text}: an HTTP rule names hosts, not addresses`);
  if (protocols?.includes('udp')) faults.push('an HTTP rule is for tcp alone');
  if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('; '));
}
