// /network/log: what the sandboxes reached for, summed up, and live.

import { type Application, FAILURES } from './routes.ts';
import { LogAnswer, LogQuery } from './schemas.ts';
import type { Services } from './services.ts';

export function addLogRoutes(app: Application, { log, followers, sandboxes }: Services): void {
  app.get(
    '/network/log',
    { schema: { querystring: LogQuery, response: { 200: LogAnswer, ...FAILURES } } },
    // Rows outlive their sandbox, so an unknown name is no error here.
    async ({ query }) => log.list(query.sandbox ?? null, query.limit, query.type),
  );

  app.get(
    '/network/log/stream',
    { schema: { querystring: LogQuery.pick({ sandbox: true }), response: FAILURES } },
    async ({ query: { sandbox } }, reply) => {
      if (sandbox !== undefined) sandboxes.get(sandbox);
      const lines = followers.follow(sandbox ?? null);
      reply.type('application/x-ndjson');
      reply.raw.once('close', () => lines.destroy());
      return reply.send(lines as never); // Lines until either side ends it: no schema says that.
    },
  );
}
