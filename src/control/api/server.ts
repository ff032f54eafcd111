// The control API: Fastify over a unix socket, and over TCP with a bearer token if asked for. Who
// may call and how errors look is settled here, for all routes; what they do is in routes-*.ts.
import { timingSafeEqual } from 'node:crypto';
import swagger from '@fastify/swagger';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import {
  jsonSchemaTransform,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import { SallyportError } from '../../base/errors.ts';
import {
  API_BODY_BYTES_MAX,
  API_CONNECTIONS_MAX,
  API_REQUEST_TIMEOUT_MS,
  API_TOKEN_BYTES_MIN,
} from '../../base/limits.ts';
import { sha256 } from '../sandboxes.ts';
import { faultsOfRequest } from './request-faults.ts';
import type { Application } from './routes.ts';
import { addApprovalRoutes } from './routes-approvals.ts';
import { addAuthorityRoutes } from './routes-authority.ts';
import { addBrowserRoutes } from './routes-browser.ts';
import { addDaemonRoutes } from './routes-daemon.ts';
import { addEnvironmentRoutes } from './routes-environment.ts';
import { addFilesystemRoutes } from './routes-filesystem.ts';
import { addLogRoutes } from './routes-log.ts';
import { addPolicyRoutes } from './routes-policy.ts';
import { addSandboxRoutes } from './routes-sandbox.ts';
import { addSecretRoutes } from './routes-secret.ts';
import { addSettingRoutes } from './routes-settings.ts';
import { addToolRoutes } from './routes-tools.ts';
import type { Services } from './services.ts';

/** How callers are known. On the unix socket by the file's mode alone. */
export type Access =
  | { readonly kind: 'unix' }
  | { readonly kind: 'tcp'; readonly token: string; readonly hosts: () => readonly string[] };

/** Names that a client of the unix socket may give; a browser page has no way to send them here. */
const UNIX_HOSTS: ReadonlySet<string> = new Set(['', 'localhost', 'sallyport', 'sandboxd']);

/**
 * Builds the API; the caller listens and closes.
 *
 * @throws SALLYPORT_USAGE for a token that can be guessed.
 */
export async function buildServer(services: Services, access: Access): Promise<FastifyInstance> {
  if (access.kind === 'tcp' && Buffer.byteLength(access.token) < API_TOKEN_BYTES_MIN) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      `the API token has fewer than ${API_TOKEN_BYTES_MIN} bytes`,
    );
  }
  const answer = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const known = errorOf(error, request);
    if (known.code === 'SALLYPORT_INTERNAL') services.report(error);
    return reply.code(known.status).send(known.toJSON());
  };
  const app = Fastify({
    // What is no URL comes by no hook.
    frameworkErrors: (error, request, reply) =>
      void answer(refusalOf(request, access) ?? error, request, reply),
    bodyLimit: API_BODY_BYTES_MAX,
    requestTimeout: API_REQUEST_TIMEOUT_MS,
    forceCloseConnections: true, // Callers that follow the log would hold the daemon for ever.
    routerOptions: { maxParamLength: 256 },
  }).withTypeProvider<ZodTypeProvider>();
  app.server.maxConnections = API_CONNECTIONS_MAX;
  app.setValidatorCompiler(validatorCompiler);
  // The types hold answers to their schemas at compile time; checking 10^6 rules again takes seconds.
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler(answer);
  app.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.split('?', 1)[0]}`;
    const error = new SallyportError('SALLYPORT_NOT_FOUND', message);
    return reply
      .code(404)
      .send({ ...error.toJSON(), hint: 'The control API is described at /openapi.json.' });
  });
  app.addHook('onRequest', async (request) => {
    const refusal = refusalOf(request, access);
    if (refusal !== null) throw refusal;
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Sallyport control API', version: services.status().version },
    },
    transform: jsonSchemaTransform,
  });
  await app.register(async (routes) => {
    const typed = routes.withTypeProvider<ZodTypeProvider>();
    addRoutes(typed, services);
    typed.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  });
  await app.ready();
  return app;
}

function addRoutes(app: Application, services: Services): void {
  addDaemonRoutes(app, services);
  addSettingRoutes(app, services);
  addSandboxRoutes(app, services);
  addAuthorityRoutes(app, services);
  addEnvironmentRoutes(app, services);
  addSecretRoutes(app, services);
  addPolicyRoutes(app, services);
  addFilesystemRoutes(app, services);
  addApprovalRoutes(app, services);
  addBrowserRoutes(app, services);
  addLogRoutes(app, services);
  addToolRoutes(app, services);
}

/** @returns SALLYPORT_FORBIDDEN_HOST or SALLYPORT_UNAUTHORIZED; null for who may ask. */
function refusalOf({ headers }: FastifyRequest, access: Access): SallyportError | null {
  const host = (headers.host ?? '').toLowerCase();
  const isOurs =
    access.kind === 'unix'
      ? UNIX_HOSTS.has(host.replace(/:\d+$/, ''))
      : access.hosts().includes(host);
  if (!isOurs) return new SallyportError('SALLYPORT_FORBIDDEN_HOST', `"${host}" is not this API`);
  if (access.kind === 'unix') return null;
  const sent = /^bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
  const same = timingSafeEqual(Buffer.from(sha256(sent)), Buffer.from(sha256(access.token)));
  return same
    ? null
    : new SallyportError('SALLYPORT_UNAUTHORIZED', 'the API token is missing or wrong');
}

/** Everything that goes wrong becomes one of ours; what we did not expect tells nothing of itself. */
function errorOf(error: unknown, request: FastifyRequest): SallyportError {
  if (error instanceof SallyportError) return error;
  const faults = faultsOfRequest(error);
  if (faults !== null) return new SallyportError('SALLYPORT_REQUEST_INVALID', faults);
  const { code, statusCode, message } = error as FastifyError;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new SallyportError(
      'SALLYPORT_POLICY_TOO_LARGE',
      `the body has more than ${API_BODY_BYTES_MAX} bytes`,
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new SallyportError('SALLYPORT_REQUEST_INVALID', message);
  }
  return new SallyportError(
    'SALLYPORT_INTERNAL',
    `${request.method} ${request.routeOptions.url} failed`,
  );
}
