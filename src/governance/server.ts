// The governance server: who may ask, how errors look, and where it listens. Its routes are in
// routes.ts; it says nothing to whoever has no token.
import swagger from '@fastify/swagger';
import Fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  jsonSchemaTransform,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import { SallyportError } from '../base/errors.ts';
import {
  GOVERNANCE_BODY_BYTES_MAX,
  GOVERNANCE_CONNECTIONS_MAX,
  GOVERNANCE_SERVE_TIMEOUT_MS,
} from '../base/limits.ts';
import { listenError } from '../base/listen-error.ts';
import { faultsOfRequest } from '../control/api/request-faults.ts';
import type { Application } from '../control/api/routes.ts';
import { ApiError, apiErrorOf } from './errors.ts';
import type { Organization } from './organization.ts';
import { addRoutes } from './routes.ts';
import type { GovernanceStore, StoredToken } from './store.ts';
import { callerOf } from './tokens.ts';

export type ServeOptions = {
  readonly host: string;
  /** 0 for any. */
  readonly port: number;
  /** PEM; null: plain HTTP, which only this machine may reach. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly version: string;
  readonly report: (error: unknown) => void;
};

export type Serving = {
  /** Of the organisation: what daemons are given. */
  readonly url: string;
  close(): Promise<void>;
};

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * @returns when it accepts connections.
 * @throws SALLYPORT_USAGE for plain HTTP that others could listen to, SALLYPORT_CONFLICT
 */
export async function serveGovernance(
  organization: Organization,
  store: GovernanceStore,
  options: ServeOptions,
): Promise<Serving> {
  const { host, port, tls } = options;
  if (tls === null && !LOOPBACK.has(host)) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      'tokens need TLS: give --tls-cert and --tls-key, or listen on 127.0.0.1',
    );
  }
  const app = await buildGovernance(organization, store, options);
  try {
    const address = new URL(await app.listen({ host, port }));
    const name = host.includes(':') ? `[${host}]` : host;
    return {
      url: `${address.protocol}//${name}:${address.port}/v2/orgs/${organization.name}`,
      close: () => app.close(),
    };
  } catch (cause) {
    await app.close();
    const message = `cannot listen on ${host}:${port}`;
    throw listenError(String(cause), message, cause);
  }
}

async function buildGovernance(
  organization: Organization,
  store: GovernanceStore,
  { tls, version, report }: ServeOptions,
): Promise<Application> {
  const answer = (error: unknown, reply: FastifyReply): FastifyReply => {
    const known = errorOf(error);
    if (known.code === 'internal') report(error);
    return reply.code(known.status).send(known.toJSON());
  };
  const app = Fastify({
    // What is no URL comes by no hook.
    frameworkErrors: (error, request, reply) => {
      try {
        callerOf(store, request.headers.authorization);
        void answer(error, reply);
      } catch (refusal) {
        void answer(refusal, reply);
      }
    },
    ...(tls !== null && { https: { ...tls, minVersion: 'TLSv1.2' } }),
    bodyLimit: GOVERNANCE_BODY_BYTES_MAX,
    requestTimeout: GOVERNANCE_SERVE_TIMEOUT_MS,
    forceCloseConnections: true, // Daemons keep theirs.
    routerOptions: { maxParamLength: 256 },
  }).withTypeProvider<ZodTypeProvider>() as unknown as Application;
  app.server.maxConnections = GOVERNANCE_CONNECTIONS_MAX;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler((error, _, reply) => answer(error, reply));
  app.setNotFoundHandler((request, reply) => {
    const what = `${request.method} ${request.url.split('?', 1)[0]}`;
    const error = new ApiError('not_found', `there is no ${what}`);
    return reply.code(404).send(error.toJSON());
  });
  const callers = new WeakMap<FastifyRequest, StoredToken>();
  app.addHook('onRequest', async (request) => {
    callers.set(request, callerOf(store, request.headers.authorization));
  });
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Sallyport governance API', version } },
    transform: jsonSchemaTransform,
  });
  await app.register(
    async (routes) => {
      routes.addHook('preHandler', async ({ params }) => checkOrganization(params, organization));
      addRoutes(routes.withTypeProvider<ZodTypeProvider>(), organization, {
        of: (request) => {
          const caller = callers.get(request);
          if (caller === undefined) throw new TypeError('a request without a caller');
          return caller;
        },
      });
    },
    { prefix: '/v2/orgs/:org/governance' },
  );
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  await app.ready();
  return app;
}

/** @throws ApiError for another organisation: it is not here. */
function checkOrganization(params: unknown, { name }: Organization): void {
  const { org } = params as { readonly org: string };
  if (org !== name) throw new ApiError('not_found', `there is no organization ${org}`);
}

/** Everything that goes wrong becomes one of the API's; what was not expected tells nothing of itself. */
function errorOf(error: unknown): ApiError {
  const known = apiErrorOf(error);
  if (known !== null) return known;
  const faults = faultsOfRequest(error);
  if (faults !== null) return new ApiError('invalid_argument', faults);
  const { code, statusCode, message } = error as FastifyError;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new ApiError('limit_exceeded', `more than ${GOVERNANCE_BODY_BYTES_MAX} bytes`);
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ApiError('invalid_argument', message);
  }
  return new ApiError('internal', 'it failed; see the log of the server');
}
