// /policy/approvals: what no rule covers, and what a person says to it.
import { SallyportError } from '../../base/errors.ts';
import { classify, isAddress } from '../../policy/address.ts';
import type { Host } from '../../policy/host.ts';
import { formatHostPort } from '../../policy/resource.ts';
import {
  APPROVAL_OPTIONS,
  type ApprovalOption,
  type PendingApproval,
} from '../policy/approvals.ts';
import { type Application, FAILURES } from './routes.ts';
import {
  ApprovalBody,
  ApprovalId,
  type ApprovalListing,
  type ApprovalResponded,
  ApprovalsAnswer,
  ApprovalsQuery,
  ResponseAnswer,
  ResponseBody,
} from './schemas-approvals.ts';
import type { Services } from './services.ts';

export function addApprovalRoutes(app: Application, { approvals }: Services): void {
  app.get(
    '/policy/approvals',
    { schema: { querystring: ApprovalsQuery, response: { 200: ApprovalsAnswer, ...FAILURES } } },
    async ({ query }) => ({ approvals: approvals.list(query.sandbox).map(listingOf) }),
  );

  app.get(
    '/policy/approvals/:id',
    { schema: { params: ApprovalId, response: { 200: ApprovalBody, ...FAILURES } } },
    async ({ params }) => listingOf(approvals.get(params.id)),
  );

  app.post(
    '/policy/approvals/:id',
    {
      schema: {
        params: ApprovalId,
        body: ResponseBody,
        response: { 200: ResponseAnswer, ...FAILURES },
      },
    },
    async ({ params, body }): Promise<ApprovalResponded> => {
      const { option, for_ms: lifeMs } = body;
      if (lifeMs !== undefined && option !== 'allow') {
        throw new SallyportError('SALLYPORT_USAGE', 'a time is for the option allow alone');
      }
      const { rule, expiresAtMs } = await approvals.respond(params.id, option, lifeMs ?? null);
      return {
        recorded: APPROVAL_OPTIONS[option],
        ...(rule !== null && { rule }),
        ...(expiresAtMs !== null && { expires_at: new Date(expiresAtMs).toISOString() }),
      };
    },
  );
}

const OPTIONS = Object.entries(APPROVAL_OPTIONS) as [ApprovalOption, string][];

function listingOf(approval: PendingApproval): ApprovalListing {
  const { id, sandbox, host, port, firstMs, lastMs, count, waiting } = approval;
  return {
    id,
    sandbox,
    title: formatHostPort(host, port),
    detail: detailOf(approval),
    protocol: 'TCP',
    resource_type: isAddress(host as Host) ? 'ip' : 'domain',
    policy: 'local-policy',
    options: OPTIONS.map(([option, label]) => ({ id: option, label })),
    first_seen: new Date(firstMs).toISOString(),
    last_seen: new Date(lastMs).toISOString(),
    count,
    waiting,
  };
}

/** What is special about an address is what somebody has to know who allows it. */
function detailOf({ host, count, waiting }: PendingApproval): string {
  const name = host as Host;
  const kind = isAddress(name) ? classify(name) : host === 'localhost' ? 'loopback' : 'public';
  const parts = [`TCP, asked ${count === 1 ? 'once' : `${count} times`}`];
  if (waiting > 0) parts.push(`${waiting} held`);
  if (kind !== 'public') parts.push(`a ${kind} address`);
  return parts.join(', ');
}
