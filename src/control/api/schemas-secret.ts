// The shapes of /secrets. A value goes in and never comes out: no answer has a field for it.
import { z } from 'zod';
import { SECRETS_MAX } from '../../base/limits.ts';

const Given = {
  value: z.string().optional().describe('The secret itself; or name a command.'),
  command: z
    .string()
    .optional()
    .describe('Run with /bin/sh by the daemon; what it writes is the value.'),
  refresh_ms: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe('How long a value of the command serves; 0: fetched on demand.'),
  sandbox: z.string().optional().describe('Absent: all sandboxes; of a registry: none.'),
  replace: z.boolean().optional().describe('Takes the place of one that is there.'),
  verify: z.boolean().optional().describe('false: the command is not tried out first.'),
};
const Scrub = z
  .enum(['off', 'pass', 'strict'])
  .optional()
  .describe('Mask it in answers; one that cannot be searched: pass, or refuse it (strict).');
const Plaintext = z.boolean().optional().describe('Lets it go over plain HTTP, too.');

export const SecretToSet = z.strictObject({
  ...Given,
  service: z.string().optional().describe('Either a service or a registry.'),
  policy: z.enum(['if-sentinel-or-absent', 'if-sentinel', 'always']).optional(),
  allow_plaintext: Plaintext,
  scrub: Scrub,
  registry: z.string().optional().describe('HOST or HOST:PORT.'),
  username: z.string().optional(),
  auth_endpoint: z.string().optional(),
  all_sandboxes: z.boolean().optional(),
});

export const CustomToSet = z.strictObject({
  ...Given,
  hosts: z.array(z.string()).min(1).describe('In the grammar of rules.'),
  env: z.string(),
  placeholder: z.string().optional(),
  in: z
    .array(z.enum(['fields', 'query', 'content']))
    .min(1)
    .optional(),
  allow_plaintext: Plaintext,
  scrub: Scrub,
});

export const OAuthToSet = z.strictObject({
  name: z.string().describe('A service, or a name of its own.'),
  token_url: z.string(),
  client_id: z.string().optional(),
  sign_in_inside: z
    .boolean()
    .optional()
    .describe('Sandboxes sign in at the endpoint, and their tokens are kept.'),
  client_auth: z.enum(['basic', 'post']).optional().describe('Of a client with a secret.'),
  client_secret: z.string().optional().describe('Absent: a public client.'),
  refresh_token: z.string().optional().describe('Absent: the client asks in its own name.'),
  scope: z.string().optional(),
  hosts: z.array(z.string()).min(1).optional().describe('Absent: those of the service.'),
  policy: z.enum(['if-sentinel-or-absent', 'if-sentinel', 'always']).optional(),
  sandbox: Given.sandbox,
  replace: Given.replace,
  verify: z.boolean().optional().describe('false: the token endpoint is not asked first.'),
});

export const SecretsToImport = z.strictObject({
  secrets: z
    .array(z.strictObject({ service: z.string(), value: z.string() }))
    .min(1)
    .max(SECRETS_MAX),
  replace: z.boolean().optional(),
});

export const SecretQuery = z.strictObject({
  sandbox: z.string().optional(),
  service: z.string().optional(),
  scope: z.literal('global').optional(),
});

const Flag = z.literal('true').optional();
export const SecretSelection = z.strictObject({
  service: z.string().optional(),
  registry: z.string().optional(),
  env: z.string().optional(),
  host: z.string().optional(),
  placeholder: z.string().optional(),
  all: Flag,
  sandbox: z.string().optional(),
  global: Flag.describe('Of a registry: that for all sandboxes. With all: none of a sandbox.'),
});

const Source = {
  source: z.enum(['command', 'oauth']).optional(),
  refresh: z.string().optional().describe('on-demand, or a duration such as 55m.'),
};

const OAuthBody = z.object({
  token_url: z.string(),
  client_id: z.string(),
  scope: z.string().optional(),
  sign_in_inside: z.boolean(),
  state: z
    .enum(['ok', 'unavailable', 'refused', 'signed-out', 'unreadable'])
    .describe('refused: the grant is gone, sign in again. signed-out: there is none yet.'),
});

const SecretBody = z.object({
  scope: z.string().describe('(global), (host only) or a sandbox.'),
  type: z.enum(['service', 'registry']),
  name: z.string(),
  secret: z.string().describe('Masked.'),
  username: z.string().optional(),
  policy: z.string().optional(),
  allow_plaintext: z.boolean().optional(),
  scrub: z.string().optional(),
  targets: z.array(z.string()).optional().describe('With oauth.'),
  oauth: OAuthBody.optional(),
  ...Source,
});

const CustomBody = z.object({
  scope: z.string(),
  targets: z.array(z.string()),
  env: z.string(),
  placeholder: z.string().describe('{rand} differs by sandbox.'),
  secret: z.string().describe('Masked.'),
  in: z.array(z.string()),
  allow_plaintext: z.boolean(),
  scrub: z.string(),
  ...Source,
});

export const SecretListing = z.object({
  secrets: z.array(SecretBody),
  custom_secrets: z.array(CustomBody),
  shadowed_services: z.array(z.string()),
});

const applied = z.number().describe('How many sandboxes it is in force for.');
export const SecretSet = z.object({ secret: SecretBody, replaced: z.boolean(), applied });
export const CustomSet = z.object({ secret: CustomBody, replaced: z.boolean(), applied });
export const SecretsRemoved = z.object({
  removed: z.array(z.object({ scope: z.string(), type: z.string(), name: z.string() })),
  applied,
});
export const SecretsImported = z.object({
  imported: z.array(
    z.object({ service: z.string(), state: z.enum(['imported', 'replaced', 'skipped']) }),
  ),
  applied,
});

export type SecretRow = z.infer<typeof SecretBody>;
export type SecretsAnswer = z.infer<typeof SecretListing>;
export type SecretSetAnswer = z.infer<typeof SecretSet>;
export type CustomSetAnswer = z.infer<typeof CustomSet>;
export type SecretsRemovedAnswer = z.infer<typeof SecretsRemoved>;
export type SecretsImportedAnswer = z.infer<typeof SecretsImported>;
