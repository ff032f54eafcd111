// The presets, and the lists of src/policy/balanced.ts.
import t from 'tap';
import { BALANCED } from '../../src/policy/balanced.ts';
import type { Host } from '../../src/policy/host.ts';
import { isPreset, PRESET_NAMES, presetRules } from '../../src/policy/presets.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import type { Rule } from '../../src/policy/rule.ts';

t.test('balanced has its six groups, whole and without doubles', async (t) => {
  const counts = Object.fromEntries(
    presetRules('balanced').map(({ id, resources }) => [id, resources.length]),
  );
  t.strictSame(counts, {
    'default-ai-services': 22,
    'default-package-managers': 56,
    'default-code-and-containers': 33,
    'default-cloud-infrastructure': 35,
    'default-os-packages': 16,
    'default-cert-validation': 30,
  });
  for (const [group, list] of Object.entries(BALANCED))
    t.equal(new Set(list).size, list.length, group);
});

t.test('what each preset lets through', async (t) => {
  const answers = (preset: (typeof PRESET_NAMES)[number], host: string, port: number): string => {
    const rules = presetRules(preset).map((rule): Rule => {
      return { ...rule, source: 'local', scope: 0, protocols: ['tcp'] };
    });
    return referenceMatcher(rules).match({ scope: 0, host: host as Host, port, protocol: 'tcp' })
      .action;
  };
  t.equal(answers('balanced', 'registry.npmjs.org', 443), 'allow');
  t.equal(answers('balanced', 'registry.npmjs.org', 80), 'deny');
  t.equal(answers('balanced', 'crl3.digicert.com', 80), 'allow');
  t.equal(answers('balanced', 'example.com', 443), 'deny');
  t.equal(answers('allow-all', 'example.com', 1), 'allow');
  t.equal(answers('deny-all', 'api.anthropic.com', 443), 'deny');
  t.strictSame(PRESET_NAMES.filter(isPreset), ['allow-all', 'balanced', 'deny-all']);
  t.notOk(isPreset('toString'));
});
