// /secrets: credentials for destinations. A value goes in; what comes out is masked.
import type { z } from 'zod';
import { SallyportError } from '../../base/errors.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { NewRegistry, NewService } from '../secrets/input.ts';
import { listCustom, listSecret, scopeText } from '../secrets/listing.ts';
import { HOST_ONLY_SCOPE } from '../secrets/store.ts';
import { type Application, FAILURES } from './routes.ts';
import {
  CustomSet,
  CustomToSet,
  OAuthToSet,
  SecretListing,
  SecretQuery,
  SecretSelection,
  SecretSet,
  SecretsImported,
  SecretsRemoved,
  SecretsToImport,
  SecretToSet,
} from './schemas-secret.ts';
import type { Services } from './services.ts';

export function addSecretRoutes(app: Application, services: Services): void {
  const { secrets, sandboxes } = services;
  addSetting(app, services);
  addOAuth(app, services);

  app.get(
    '/secrets',
    { schema: { querystring: SecretQuery, response: { 200: SecretListing, ...FAILURES } } },
    async ({ query }) => secrets.list(query),
  );

  app.post(
    '/secrets/import',
    { schema: { body: SecretsToImport, response: { 200: SecretsImported, ...FAILURES } } },
    async ({ body }) => {
      const imported = await secrets.import(body.secrets, body.replace === true);
      const changed = imported.some(({ state }) => state !== 'skipped');
      return { imported, applied: changed ? reach([GLOBAL_SCOPE], services) : 0 };
    },
  );

  app.delete(
    '/secrets',
    { schema: { querystring: SecretSelection, response: { 200: SecretsRemoved, ...FAILURES } } },
    async ({ query: { all, global, ...which } }) => {
      const selector = { ...which, all: all === 'true', global: global === 'true' };
      const removed = await secrets.remove(selector);
      return {
        removed: removed.map(({ scope, kind, name }) => ({
          scope: scopeText(scope, sandboxes),
          type: kind,
          name,
        })),
        applied: reach(
          removed.map(({ scope }) => scope),
          services,
        ),
      };
    },
  );
}

function addOAuth(app: Application, services: Services): void {
  const { secrets, sandboxes } = services;
  app.post(
    '/secrets/oauth',
    { schema: { body: OAuthToSet, response: { 201: SecretSet, ...FAILURES } } },
    async ({ body }, reply) => {
      const { token_url: tokenUrl, client_id: clientId, client_auth: clientAuth } = body;
      const { client_secret: clientSecret, refresh_token: refreshToken } = body;
      const { name, scope, hosts, policy, sandbox, replace, verify } = body;
      const client = { tokenUrl, clientId, clientAuth, clientSecret, refreshToken, scope };
      const signInInside = body.sign_in_inside;
      const wanted = { ...client, signInInside, name, hosts, policy, sandbox, replace, verify };
      const { held, replaced } = await secrets.setOAuth(wanted);
      const secret = listSecret(held, sandboxes);
      const applied = reach([held.secret.scope], services);
      return reply.code(201).send({ secret, replaced, applied });
    },
  );
}

function addSetting(app: Application, services: Services): void {
  const { secrets, sandboxes } = services;
  app.post(
    '/secrets',
    { schema: { body: SecretToSet, response: { 201: SecretSet, ...FAILURES } } },
    async ({ body }, reply) => {
      const { held, replaced } = await secrets.set(wantedOf(body));
      const secret = listSecret(held, sandboxes);
      const applied = reach([held.secret.scope], services);
      return reply.code(201).send({ secret, replaced, applied });
    },
  );

  app.post(
    '/secrets/custom',
    { schema: { body: CustomToSet, response: { 201: CustomSet, ...FAILURES } } },
    async ({ body }, reply) => {
      const { hosts, env, placeholder, in: places, allow_plaintext: plaintext, scrub } = body;
      const wanted = { ...givenOf(body), hosts, env, placeholder, in: places, plaintext, scrub };
      const { held, replaced } = await secrets.setCustom(wanted);
      const secret = listCustom(held, sandboxes);
      const applied = reach([held.secret.scope], services);
      return reply.code(201).send({ secret, replaced, applied });
    },
  );
}

/** How many sandboxes a change in these scopes is in force for. */
function reach(scopes: readonly number[], { sandboxes }: Services): number {
  if (scopes.includes(GLOBAL_SCOPE)) return sandboxes.list().length;
  return new Set(scopes.filter((scope) => scope !== HOST_ONLY_SCOPE)).size;
}

/** @throws SALLYPORT_REQUEST_INVALID for a body that is of neither kind, or of both. */
function wantedOf(body: z.infer<typeof SecretToSet>): NewService | NewRegistry {
  const { service, registry, policy, username, scrub } = body;
  const { allow_plaintext: plaintext, auth_endpoint: authEndpoint } = body;
  const forRegistry = [username, authEndpoint, body.all_sandboxes];
  const forService = [policy, plaintext, scrub];
  if (service !== undefined && registry === undefined && forRegistry.every(isAbsent)) {
    return { ...givenOf(body), service, policy, plaintext, scrub };
  }
  if (registry !== undefined && service === undefined && forService.every(isAbsent)) {
    const allSandboxes = body.all_sandboxes;
    return { ...givenOf(body), registry, username, authEndpoint, allSandboxes };
  }
  throw new SallyportError(
    'SALLYPORT_REQUEST_INVALID',
    'a secret is of a service (policy, allow_plaintext, scrub) or of a registry (username, auth_endpoint, all_sandboxes)',
  );
}

function isAbsent(value: unknown): boolean {
  return value === undefined;
}

type Body = Pick<
  z.infer<typeof SecretToSet>,
  'value' | 'command' | 'refresh_ms' | 'sandbox' | 'replace' | 'verify'
>;

function givenOf({ value, command, refresh_ms: refreshMs, sandbox, replace, verify }: Body) {
  return { value, command, refreshMs, sandbox, replace, verify };
}
