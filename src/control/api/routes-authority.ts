// /authority: what sandboxes must trust to read what is intercepted. Its key never leaves.
import { z } from 'zod';
import { type Application, FAILURES } from './routes.ts';
import type { Services } from './services.ts';

const Info = z.object({
  subject: z.string(),
  issuer: z.string(),
  serial: z.string(),
  not_before: z.string(),
  not_after: z.string(),
  fingerprint_sha256: z.string(),
  key: z.string(),
  imported: z.boolean(),
});

const Export = z.strictObject({ format: z.enum(['pem', 'der', 'bundle']).default('pem') });
const Exported = z.object({ format: z.string(), content: z.string().describe('Base64.') });

const Import = z.strictObject({
  content: z.base64().describe('PEM or PKCS#12 with certificate and key.'),
  passphrase: z.string().nullable().default(null),
});

export function addAuthorityRoutes(app: Application, { authority }: Services): void {
  const response = { 200: Info, ...FAILURES };
  app.get('/authority', { schema: { response } }, async () => authority.info());

  app.get(
    '/authority/export',
    { schema: { querystring: Export, response: { 200: Exported, ...FAILURES } } },
    async ({ query: { format } }) => ({
      format,
      content: authority.export(format).toString('base64'),
    }),
  );

  app.post('/authority/rotate', { schema: { response } }, async () => authority.rotate());

  app.post('/authority/import', { schema: { body: Import, response } }, async ({ body }) =>
    authority.import(Buffer.from(body.content, 'base64'), body.passphrase),
  );
}
