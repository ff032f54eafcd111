// Rules and questions for the tests of this folder, written the way people write them.
import { parseAddress } from '../../src/policy/address.ts';
import type { Question } from '../../src/policy/decision.ts';
import { normalizeHost } from '../../src/policy/host.ts';
import { parseResources } from '../../src/policy/resource.ts';
import type { Decision, Protocol, Rule } from '../../src/policy/rule.ts';

export function rule(
  id: string,
  decision: Decision,
  resources: string,
  { scope = 0, protocols = ['tcp'] as readonly Protocol[] } = {},
): Rule {
  return { id, source: 'local', decision, scope, protocols, resources: parseResources(resources) };
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
