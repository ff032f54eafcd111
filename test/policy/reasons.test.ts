import t from 'tap';
import type { Verdict } from '../../src/policy/decision.ts';
import type { Host } from '../../src/policy/host.ts';
import { operationOf, reasonOf, ruleLabel, ruleText } from '../../src/policy/reasons.ts';

const question = { host: 'example.com' as Host, port: 443, protocol: 'tcp' } as const;
const implicit: Verdict = {
  action: 'deny',
  kind: 'implicit',
  http: false,
  rule: null,
  source: null,
  generation: 1,
};
const UUID = '9701dc6e-0000-4000-8000-000000000000';

t.test('the words that scripts look for', async (t) => {
  t.equal(reasonOf(implicit), 'No matching allow rule (default deny)');
  t.equal(
    reasonOf({ ...implicit, kind: 'explicit', rule: 'x', source: 'local' }),
    'Denied by local rule',
  );
  t.equal(reasonOf({ ...implicit, action: 'allow', kind: 'explicit' }), null);
  const operation = 'op(action=net:connect:tcp, resource=net:domain:example.com:443)';
  t.equal(operationOf(question), operation);
  t.equal(ruleText(null, question), `no applicable policies for ${operation}`);
  t.equal(ruleText(UUID, question), `denied: rule "local:${UUID}" matched ${operation}`);
  t.equal(ruleLabel('default-ai-services'), 'default-ai-services');
});
