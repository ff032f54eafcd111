// /daemon: is it there, what is it doing, how much does it log, and end it.
import { z } from 'zod';
import { type Application, FAILURES } from './routes.ts';
import { HealthAnswer, LogLevelBody, LogLevelChange, StatusAnswer, StopBody } from './schemas.ts';
import type { Services } from './services.ts';

const API_VERSION = '1.0.0';

export function addDaemonRoutes(app: Application, services: Services): void {
  app.get(
    '/daemon/health',
    { schema: { response: { 200: HealthAnswer, ...FAILURES } } },
    async () => {
      const { version } = services.status();
      const status = 'ok' as const;
      return { status, api_version: API_VERSION, release: version, revision: '', version };
    },
  );

  const Info = z.object({ api_socket: z.string(), docker_socket: z.string() });
  app.get('/daemon/info', { schema: { response: { 200: Info, ...FAILURES } } }, async () => ({
    api_socket: services.status().socket,
    docker_socket: '',
  }));

  app.get(
    '/daemon/status',
    { schema: { response: { 200: StatusAnswer, ...FAILURES } } },
    async () => services.status(),
  );

  app.get(
    '/daemon/loglevel',
    { schema: { response: { 200: LogLevelBody, ...FAILURES } } },
    async () => services.logLevels(),
  );

  app.post(
    '/daemon/loglevel/set',
    { schema: { body: LogLevelChange, response: { 200: LogLevelBody, ...FAILURES } } },
    async ({ body }) => {
      const { general, proxy } = services.logLevels();
      await services.setLogLevels({ general: body.general ?? general, proxy: body.proxy ?? proxy });
      return services.logLevels();
    },
  );

  const Stopping = z.object({ stopping: z.literal(true), pid: z.number() });
  app.post(
    '/daemon/stop',
    { schema: { body: StopBody, response: { 202: Stopping, ...FAILURES } } },
    async ({ body }, reply) => {
      reply.raw.once('close', () => services.stop(body?.drain_timeout_ms ?? null));
      return reply.code(202).send({ stopping: true, pid: services.status().pid });
    },
  );

  const Reset = z.object({ reset: z.literal(true) });
  app.post('/daemon/reset', { schema: { response: { 200: Reset, ...FAILURES } } }, async () => {
    services.approvals.drop(null);
    await services.policy.reset();
    services.log.clear();
    return { reset: true as const };
  });
}
