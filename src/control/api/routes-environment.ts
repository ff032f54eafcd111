// /environment: what a sandbox is told so that its programs use the proxy and trust it. It never
// carries a token: that left in the one answer that made it.
import { z } from 'zod';
import { SallyportError } from '../../base/errors.ts';
import { proxyPlace } from '../sandboxes.ts';
import type { StoredSandbox } from '../store.ts';
import { type Application, FAILURES } from './routes.ts';
import type { Services } from './services.ts';

const Which = z.strictObject({
  sandbox: z.string().optional().describe('Absent: the default sandbox of the daemon.'),
});

const Environment = z.object({
  sandbox: z.string(),
  identified_by: z
    .enum(['listener', 'source-address', 'default', 'token'])
    .describe('token: NAME:TOKEN@ stands before the host of the proxy URL.'),
  proxy_url: z.string().nullable().describe('Without a token; null for a unix socket.'),
  secrets: z
    .record(z.string(), z.string())
    .readonly()
    .describe('Variables, and what stands in them.'),
  trust: z.object({
    folder: z.string().describe('Of the files that the variables of certificates name.'),
    authority: z.string().describe('PEM that clients of the proxy trust.'),
  }),
});

export type SandboxEnvironment = z.infer<typeof Environment>;

export function addEnvironmentRoutes(app: Application, services: Services): void {
  app.get(
    '/environment',
    { schema: { querystring: Which, response: { 200: Environment, ...FAILURES } } },
    async ({ query }) => environmentOf(query.sandbox, services),
  );
}

/** @throws SALLYPORT_NOT_FOUND, SALLYPORT_USAGE */
function environmentOf(asked: string | undefined, services: Services): SandboxEnvironment {
  const { sandboxes, trust, authority, shared, defaultSandbox } = services;
  const name = asked ?? defaultSandbox;
  if (name === null) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      'name a sandbox; the daemon was started without a default one',
    );
  }
  const sandbox = sandboxes.get(name);
  trust.write(); // Somebody may have removed them.
  return {
    sandbox: name,
    identified_by: identityOf(sandbox, defaultSandbox),
    proxy_url: proxyPlace(sandbox, shared()),
    secrets: services.variablesOf(sandbox.number),
    trust: { folder: trust.folder, authority: authority.material.trustPem },
  };
}

function identityOf(
  { name, listen, sourceAddress }: StoredSandbox,
  defaultSandbox: string | null,
): SandboxEnvironment['identified_by'] {
  if (listen !== null) return 'listener';
  if (sourceAddress !== null) return 'source-address';
  return name === defaultSandbox ? 'default' : 'token';
}
