// /policy/filesystem: rules for paths of this machine, and what a runtime asks before it mounts one.
import { accessesFor } from '../../policy/mount.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import { listPathRule, scopeName } from '../policy/listing.ts';
import { mountAnswer, mountExplanation } from '../policy/mount-answers.ts';
import type { MountRequest } from '../policy/mounts.ts';
import { type Application, FAILURES } from './routes.ts';
import { Removed, type RemovedAnswer } from './schemas.ts';
import {
  MountAnswer,
  MountBody,
  MountExplainAnswer,
  PathRuleSelector,
  PathRulesAdded,
  type PathRulesAddedAnswer,
  PathRuleToAdd,
} from './schemas-filesystem.ts';
import type { Services } from './services.ts';

export function addFilesystemRoutes(app: Application, services: Services): void {
  addRuleRoutes(app, services);
  const { mounts } = services;

  app.post(
    '/policy/filesystem/check',
    { schema: { body: MountBody, response: { 200: MountAnswer, ...FAILURES } } },
    async ({ body }) => mountAnswer(await mounts.judge(requestOf(body)), services),
  );

  app.post(
    '/policy/filesystem/explain',
    { schema: { body: MountBody, response: { 200: MountExplainAnswer, ...FAILURES } } },
    async ({ body }) => mountExplanation(await mounts.judge(requestOf(body)), services),
  );

  app.post(
    '/policy/filesystem/mount',
    { schema: { body: MountBody, response: { 200: MountAnswer, ...FAILURES } } },
    async ({ body }) => mountAnswer(await mounts.mount(requestOf(body)), services),
  );
}

function addRuleRoutes(app: Application, { policy, mounts, sandboxes }: Services): void {
  app.post(
    '/policy/filesystem/rules',
    { schema: { body: PathRuleToAdd, response: { 201: PathRulesAdded, ...FAILURES } } },
    async ({ body }, reply) => {
      const { decision, resources, sandbox } = body;
      const accesses = body.accesses ?? accessesFor(decision);
      const added = await mounts.addRules({
        decision,
        accesses: [...new Set(accesses)],
        patterns: resources,
        sandbox,
      });
      const rules = added.map((rule) => listPathRule(rule, sandboxes, policy));
      const answer: PathRulesAddedAnswer = {
        policy: 'local',
        rules,
        generation: policy.generation,
      };
      return reply.code(201).send(answer);
    },
  );

  app.delete(
    '/policy/filesystem/rules',
    { schema: { body: PathRuleSelector, response: { 200: Removed, ...FAILURES } } },
    async ({ body }): Promise<RemovedAnswer> => {
      const { id, resources: patterns, accesses, sandbox } = body;
      const scope = sandbox === undefined ? GLOBAL_SCOPE : sandboxes.numberOf(sandbox);
      const removed = await policy.paths.remove({ id, patterns, accesses, sandbox });
      return {
        policy: 'local',
        scope: scopeName(removed[0]?.rule.scope ?? scope, sandboxes),
        removed: removed.map(({ rule, patterns }) => ({ id: rule.id, resources: patterns })),
        generation: policy.generation,
      };
    },
  );
}

function requestOf({
  path,
  writable,
  sandbox_id: sandbox,
}: {
  path: string;
  writable: boolean;
  sandbox_id?: string | undefined;
}): MountRequest {
  return { path, writable, sandbox };
}
