// The routes of the public Governance API, and beside them ours: settings and the audit.
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { GOVERNANCE_PAGE_MAX } from '../base/limits.ts';
import type { Application } from '../control/api/routes.ts';
import {
  Allowlist,
  NameText,
  PolicySummary,
  RuleDraft,
  Scope,
  Settings,
} from '../control/governance/api.ts';
import { ApiError } from './errors.ts';
import type { Organization } from './organization.ts';
import type { StoredToken } from './store.ts';

const ErrorAnswer = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
const FAILURES = { '4xx': ErrorAnswer, '5xx': ErrorAnswer } as const;

const Org = z.strictObject({ org: z.string() });
const OnePolicy = Org.extend({ policy_id: z.string() });
const OneRule = OnePolicy.extend({ rule_id: z.string() });
const PageQuery = z.strictObject({
  page_size: z.coerce.number().int().min(1).max(GOVERNANCE_PAGE_MAX).default(GOVERNANCE_PAGE_MAX),
  page_token: z.string().optional(),
});

const Cedar = z.unknown().optional().describe('Not supported: answered with 501.');
const PolicyToAdd = z.strictObject({ name: NameText, scope: Scope.nullish(), cedar_v1: Cedar });
const PolicyChange = PolicyToAdd.partial();
const RuleChange = RuleDraft.partial();
const SettingsChange = z.strictObject({
  support_message: Settings.shape.support_message.unwrap().optional(),
  delegates: Settings.shape.delegates.unwrap().optional(),
});

const Summary = PolicySummary.describe('A policy without its rules.');
const Policy = PolicySummary.extend({ allowlist_v0: Allowlist });
const Rule = Allowlist.shape.rules.element;
const List = z.object({ data: z.array(Summary), next_page_token: z.string().nullable() });
const AuditList = z.object({
  data: z.array(
    z.object({
      seq: z.number(),
      time: z.string(),
      actor: z.string().describe('The name of the token.'),
      action: z.string(),
      policy_id: z.string().nullable(),
      rule_id: z.string().nullable(),
      before: z.unknown(),
      after: z.unknown(),
    }),
  ),
  next_page_token: z.string().nullable(),
});

const changed = <T extends z.ZodType>(one: T) => z.object({ old: one, new: one });
const deleted = <T extends z.ZodType>(one: T) => z.object({ deleted: one });

/** Who asks, as the hook of server.ts found out. */
export type Callers = { of(request: FastifyRequest): StoredToken };

export function addRoutes(app: Application, organization: Organization, callers: Callers): void {
  addPolicyRoutes(app, organization, callers);
  addRuleRoutes(app, organization, callers);
  addOwnRoutes(app, organization, callers);
}

function addPolicyRoutes(app: Application, organization: Organization, callers: Callers): void {
  const admin = (request: FastifyRequest): string => adminOf(callers, request);
  app.get(
    '/policies',
    { schema: { params: Org, querystring: PageQuery, response: { 200: List, ...FAILURES } } },
    async (request, reply) => {
      const { page_size: size, page_token: token } = request.query;
      return tagged(request, reply, organization.list(size, token));
    },
  );
  app.post(
    '/policies',
    { schema: { params: Org, body: PolicyToAdd, response: { 201: Policy, ...FAILURES } } },
    async (request, reply) => {
      const made = organization.create(admin(request), request.body);
      return reply.code(201).send(made as never);
    },
  );
  app.get(
    '/policies/:policy_id',
    { schema: { params: OnePolicy, response: { 200: Policy, ...FAILURES } } },
    async (request, reply) => tagged(request, reply, organization.get(request.params.policy_id)),
  );
  app.patch(
    '/policies/:policy_id',
    {
      schema: {
        params: OnePolicy,
        body: PolicyChange,
        response: { 200: changed(Policy), ...FAILURES },
      },
    },
    async (request) =>
      organization.update(admin(request), request.params.policy_id, request.body) as never,
  );
  app.delete(
    '/policies/:policy_id',
    { schema: { params: OnePolicy, response: { 200: deleted(Policy), ...FAILURES } } },
    async (request) => organization.remove(admin(request), request.params.policy_id) as never,
  );
}

function addRuleRoutes(app: Application, organization: Organization, callers: Callers): void {
  const admin = (request: FastifyRequest): string => adminOf(callers, request);
  app.post(
    '/policies/:policy_id/rules',
    { schema: { params: OnePolicy, body: RuleDraft, response: { 201: Rule, ...FAILURES } } },
    async (request, reply) => {
      const { policy_id: id } = request.params;
      const made = organization.addRule(admin(request), id, request.body);
      return reply.code(201).send(made);
    },
  );
  app.patch(
    '/policies/:policy_id/rules/:rule_id',
    {
      schema: { params: OneRule, body: RuleChange, response: { 200: changed(Rule), ...FAILURES } },
    },
    async (request) => {
      const { policy_id: policy, rule_id: rule } = request.params;
      return organization.updateRule(admin(request), policy, rule, request.body);
    },
  );
  app.delete(
    '/policies/:policy_id/rules/:rule_id',
    { schema: { params: OneRule, response: { 200: deleted(Rule), ...FAILURES } } },
    async (request) => {
      const { policy_id: policy, rule_id: rule } = request.params;
      return organization.removeRule(admin(request), policy, rule);
    },
  );
}

/** What the public API has no place for. */
function addOwnRoutes(app: Application, organization: Organization, callers: Callers): void {
  app.get(
    '/settings',
    { schema: { params: Org, response: { 200: Settings, ...FAILURES } } },
    async (request, reply) => tagged(request, reply, organization.settings),
  );
  app.patch(
    '/settings',
    {
      schema: {
        params: Org,
        body: SettingsChange,
        response: { 200: changed(Settings), ...FAILURES },
      },
    },
    async (request) => organization.updateSettings(adminOf(callers, request), request.body),
  );
  app.get(
    '/audit',
    { schema: { params: Org, querystring: PageQuery, response: { 200: AuditList, ...FAILURES } } },
    async (request) => {
      adminOf(callers, request);
      const { page_size: size, page_token: token } = request.query;
      return organization.audit(size, token) as never;
    },
  );
}

/** @throws ApiError */
function adminOf(callers: Callers, request: FastifyRequest): string {
  const { name, role } = callers.of(request);
  if (role === 'admin') return name;
  throw new ApiError('permission_denied', `the token "${name}" may only read`);
}

/** Daemons ask again and again: what they have already is not sent (RFC 9110 section 13.1.2). */
function tagged(request: FastifyRequest, reply: FastifyReply, body: object): never {
  const text = JSON.stringify(body);
  const tag = `"${createHash('sha256').update(text).digest('base64url')}"`;
  reply.header('etag', tag).header('cache-control', 'no-cache');
  const isKnown = request.headers['if-none-match'] === tag;
  return (isKnown ? reply.code(304).send() : reply.type('application/json').send(text)) as never;
}
