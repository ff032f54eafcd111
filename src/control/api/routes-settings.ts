// /daemon/settings: what the daemon goes by, where each value comes from, and changes of it.
import { z } from 'zod';
import { type Application, FAILURES } from './routes.ts';
import type { Services } from './services.ts';

const Value = z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).readonly()]);

const SettingBody = z.object({
  key: z.string(),
  value: Value.describe('That wins; after a restart it is in use.'),
  default: Value,
  source: z.enum(['option', 'envvar', 'override', 'default']),
  type: z.enum(['bool', 'int', 'string', 'json']),
  env_var: z.string(),
  option: z.string().describe('Of `daemon start`; empty for none. Ours.'),
  requires_restart: z.boolean(),
  restart_pending: z.boolean().describe('The value waits for a restart. Ours.'),
  description: z.string(),
});
const Records = z.object({ settings: z.array(SettingBody) });

const Key = z.strictObject({ key: z.string() });
const Change = z.strictObject({ value: z.unknown().describe('Of the type of the setting.') });

export function addSettingRoutes(app: Application, { settings }: Services): void {
  app.get(
    '/daemon/settings',
    { schema: { response: { 200: Records, ...FAILURES } } },
    async () => ({ settings: settings.records() }),
  );

  app.get(
    '/daemon/settings/:key',
    { schema: { params: Key, response: { 200: SettingBody, ...FAILURES } } },
    async ({ params }) => settings.record(params.key),
  );

  app.put(
    '/daemon/settings/:key',
    { schema: { params: Key, body: Change, response: { 200: SettingBody, ...FAILURES } } },
    ({ params, body }) => settings.set(params.key, body.value),
  );

  app.delete(
    '/daemon/settings/:key',
    { schema: { params: Key, response: { 200: SettingBody, ...FAILURES } } },
    ({ params }) => settings.unset(params.key),
  );
}
