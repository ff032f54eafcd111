// Rules and questions for the tests of this folder, written the way people write them.
import { parseAddress } from '../../src/policy/address.ts';
import type { Question } from '../../src/policy/decision.ts';
import { normalizeHost } from '../../src/policy/host.ts';
import type { Decision, Protocol, Rule } from '../../src/policy/rule.ts';
import { ruleOf } from '../helpers/rules.ts';

export function rule(
  id: string,
  decision: Decision,
  resources: string,
  { scope = 0, protocols = ['tcp'] as readonly Protocol[] } = {},
): Rule {
  return ruleOf(decision, resources, { id, scope, protocols });
}

export function ask(host: string, port = 443, rest: Partial<Question> = {}): Question {
  return {
    scope: 0,
    host: parseAddress(host) ?? normalizeHost(host),
    port,
    protocol: 'tcp',
    ...rest,
  };
}
