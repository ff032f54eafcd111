// Routes that help to write policy: what is decided and why, and whole policies at once.
import { applyPolicy } from '../policy/apply.ts';
import { explainTarget } from '../policy/explain.ts';
import { listsOf } from '../policy/rule-input.ts';
import { type Application, FAILURES } from './routes.ts';
import { ApplyAnswer, ApplyBody, ExplainAnswer, ExplainBody } from './schemas-tools.ts';
import type { Services } from './services.ts';

export function addToolRoutes(app: Application, services: Services): void {
  app.post(
    '/policy/network/explain',
    { schema: { body: ExplainBody, response: { 200: ExplainAnswer, ...FAILURES } } },
    ({ body }) => explainTarget(services, body),
  );

  app.post(
    '/policy/apply',
    { schema: { body: ApplyBody, response: { 200: ApplyAnswer, ...FAILURES } } },
    ({ body }) => {
      const { dry_run: dryRun, preset_rules: presetRules, rules, ...more } = body;
      const { preset_filesystem: presetFilesystem, ...wanted } = more;
      const lists = rules.map((rule) => ({ ...rule, resources: listsOf(rule.resources) }));
      return applyPolicy(
        services,
        { ...wanted, presetRules, presetFilesystem, rules: lists },
        dryRun,
      );
    },
  );
}
