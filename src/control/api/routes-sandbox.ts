// /sandbox: who may use the proxy. A token leaves in the one answer that made it.
import { z } from 'zod';
import { kitOf } from '../../documents/kit.ts';
import { formatListen, type Issued, proxyUrl } from '../sandboxes.ts';
import type { StoredSandbox } from '../store.ts';
import { type Application, FAILURES } from './routes.ts';
import {
  PhaseBody,
  SandboxBody,
  type SandboxIssue,
  SandboxIssued,
  type SandboxListing,
  SandboxName,
  SandboxToAdd,
} from './schemas.ts';
import type { Services } from './services.ts';

export function addSandboxRoutes(app: Application, { sandboxes, shared }: Services): void {
  const issue = (issued: Issued): SandboxIssue => ({
    ...listing(issued.sandbox),
    proxy_url: proxyUrl(issued, shared()),
  });

  const Listing = z.object({ sandboxes: z.array(SandboxBody) });
  app.get('/sandbox', { schema: { response: { 200: Listing, ...FAILURES } } }, async () => ({
    sandboxes: sandboxes.list().map(listing),
  }));

  app.post(
    '/sandbox',
    { schema: { body: SandboxToAdd, response: { 201: SandboxIssued, ...FAILURES } } },
    async ({ body }, reply) => {
      const { source_address: sourceAddress, kit: text, ...others } = body;
      const kit = text === undefined ? undefined : kitOf(text);
      const issued = await sandboxes.add({ ...others, sourceAddress, kit });
      return reply.code(201).send(issue(issued));
    },
  );

  app.get(
    '/sandbox/:name',
    { schema: { params: SandboxName, response: { 200: SandboxBody, ...FAILURES } } },
    async ({ params }) => listing(sandboxes.get(params.name)),
  );

  const Removed = z.object({ name: z.string(), removed: z.literal(true) });
  app.delete(
    '/sandbox/:name',
    { schema: { params: SandboxName, response: { 200: Removed, ...FAILURES } } },
    async ({ params: { name } }) => {
      await sandboxes.remove(name);
      return { name, removed: true as const };
    },
  );

  app.post(
    '/sandbox/:name/phase',
    {
      schema: { params: SandboxName, body: PhaseBody, response: { 200: SandboxBody, ...FAILURES } },
    },
    async ({ params, body }) => listing(await sandboxes.setPhase(params.name, body.phase)),
  );

  app.post(
    '/sandbox/:name/token',
    { schema: { params: SandboxName, response: { 200: SandboxIssued, ...FAILURES } } },
    async ({ params }) => issue(await sandboxes.rotate(params.name)),
  );
}

function listing(sandbox: StoredSandbox): SandboxListing {
  const { name, number, listen, sourceAddress, deny, kit, phase, createdAtMs } = sandbox;
  return {
    name,
    id: name,
    number,
    status: 'running',
    listen: listen === null ? null : formatListen(listen),
    source_address: sourceAddress,
    deny,
    kit: kit?.name ?? null,
    phase,
    created_at: new Date(createdAtMs).toISOString(),
  };
}
