// /browser-open: a runtime hands on what a sandbox wants to have opened on the host.
import { z } from 'zod';
import { type Application, FAILURES } from './routes.ts';
import type { Services } from './services.ts';

const BrowserBody = z.strictObject({
  url: z.string().describe('http or https.'),
  sandbox_id: z.string(),
});

const BrowserAnswer = z.object({
  opened: z.literal(true),
  url: z.string().describe('As it was given to the program.'),
  host: z.string(),
  port: z.number(),
  generation: z.number(),
});

export function addBrowserRoutes(app: Application, { browser }: Services): void {
  app.post(
    '/browser-open',
    { schema: { body: BrowserBody, response: { 200: BrowserAnswer, ...FAILURES } } },
    async ({ body: { url, sandbox_id: sandbox } }) => {
      const opened = await browser.open({ url, sandbox });
      return { opened: true as const, ...opened };
    },
  );
}
