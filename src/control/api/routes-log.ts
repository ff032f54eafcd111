// /network/log: what the sandboxes reached for, summed up, and live.

import { type Application, FAILURES } from './routes.ts';
import { LiveQuery, LogAnswer, LogQuery } from './schemas.ts';
import type { Services } from './services.ts';

export function addLogRoutes(app: Application, { log, followers, sandboxes }: Services): void {
  app.get(
    '/network/log',
    { schema: { querystring: LogQuery, response: { 200: LogAnswer, ...FAILURES } } },
    // Rows outlive their sandbox, so an unknown name is no error here.
    async ({ query: { limit, since, ...filter } }) =>
      log.list({ ...filter, sinceMs: since === undefined ? 0 : Date.parse(since) }, limit),
  );

  app.get(
    '/network/log/stream',
    { schema: { querystring: LiveQuery, response: FAILURES } },
    async ({ query }, reply) => {
      if (query.sandbox !== undefined) sandboxes.get(query.sandbox);
      const lines = followers.follow(query);
      reply.type('application/x-ndjson');
      reply.raw.once('close', () => lines.destroy());
      return reply.send(lines as never); // Lines until either side ends it: no schema says that.
    },
  );
}
