// Routes that help to write policy: they look at it, and change nothing.
import { explainTarget } from './explain.ts';
import { type Application, FAILURES } from './routes.ts';
import { ExplainAnswer, ExplainBody } from './schemas-tools.ts';
import type { Services } from './services.ts';

export function addToolRoutes(app: Application, services: Services): void {
  app.post(
    '/policy/network/explain',
    { schema: { body: ExplainBody, response: { 200: ExplainAnswer, ...FAILURES } } },
    ({ body }) => explainTarget(services, body),
  );
}
