// /policy: rules, checks, and the choice of a preset. A changing route answers when all workers
// enforce the change.
import { Readable } from 'node:stream';
import { z } from 'zod';
import { PRESET_NAMES } from '../../policy/presets.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import { checkTarget } from '../policy/check.ts';
import { inspect } from '../policy/inspect.ts';
import { listRule, listRules, type RuleListing, scopeName } from '../policy/listing.ts';
import { listsOf, type NewRule } from '../policy/rule-input.ts';
import { type Application, FAILURES } from './routes.ts';
import {
  Added,
  type AddedAnswer,
  AddedMany,
  type AddedManyAnswer,
  CheckAnswer,
  CheckBody,
  GovernanceBody,
  InspectAnswer,
  InspectQuery,
  Removed,
  type RemovedAnswer,
  RuleFilter,
  RuleListingBody,
  RuleSelector,
  RulesToAdd,
  RuleToAdd,
  SetupAnswer,
  SetupBody,
  type SetupStatus,
} from './schemas.ts';
import type { Services } from './services.ts';

const LISTINGS_PER_CHUNK = 500;

export function addPolicyRoutes(app: Application, services: Services): void {
  addRuleRoutes(app, services);
  addRemoval(app, services);

  app.post(
    '/policy/network/check',
    { schema: { body: CheckBody, response: { 200: CheckAnswer, ...FAILURES } } },
    async ({ body }) => checkTarget(services, body),
  );

  app.get(
    '/policy/governance',
    { schema: { response: { 200: GovernanceBody, ...FAILURES } } },
    async () => services.governance(),
  );

  app.post(
    '/policy/refresh',
    { schema: { response: { 200: GovernanceBody, ...FAILURES } } },
    async () => {
      await services.refreshGovernance();
      return services.governance();
    },
  );

  app.get(
    '/policy/inspect',
    { schema: { querystring: InspectQuery, response: { 200: InspectAnswer, ...FAILURES } } },
    async ({ query }) => inspect(query.selector, services),
  );

  const Profiles = z.object({ profiles: z.array(z.string()) });
  app.get('/policy/network/profiles', { schema: { response: { 200: Profiles } } }, async () => ({
    profiles: [],
  }));

  const setup = (): SetupStatus => {
    const { preset } = services.policy;
    return { initialized: preset !== null, preset, presets: PRESET_NAMES };
  };
  app.get('/policy/setup', { schema: { response: { 200: SetupAnswer, ...FAILURES } } }, async () =>
    setup(),
  );
  app.post(
    '/policy/setup',
    { schema: { body: SetupBody, response: { 200: SetupAnswer, ...FAILURES } } },
    async ({ body }) => {
      await services.policy.initialize(body.preset);
      return setup();
    },
  );
}

function addRuleRoutes(app: Application, services: Services): void {
  const { policy, sandboxes } = services;
  const Listing = z.object({
    rules: z.array(RuleListingBody),
    bypass: z.array(z.string()).describe('Hosts that are never intercepted; ours.'),
  });
  app.get(
    '/policy/network/rules',
    { schema: { querystring: RuleFilter, response: { 200: Listing, ...FAILURES } } },
    async ({ query }, reply) => {
      const { type, sandbox, include_inactive: inactive } = query;
      const bypass = type === 'filesystem' ? [] : services.bypass;
      const listings = listRules(policy, sandboxes, { type, sandbox, inactive });
      reply.type('application/json; charset=utf-8');
      return reply.send(Readable.from(jsonOf(listings, bypass)) as never); // The schema is of its content.
    },
  );

  app.post(
    '/policy/network/rules',
    { schema: { body: RuleToAdd, response: { 201: Added, ...FAILURES } } },
    async ({ body }, reply) => {
      const added = await policy.add([ruleOf(body)]);
      const rules = added.map((rule) => listRule(rule, sandboxes, policy));
      const answer: AddedAnswer = { policy: 'local', rules, generation: policy.generation };
      return reply.code(201).send(answer);
    },
  );

  app.post(
    '/policy/network/rules/batch',
    { schema: { body: RulesToAdd, response: { 201: AddedMany, ...FAILURES } } },
    async ({ body }, reply) => {
      const added = await policy.add(body.rules.map(ruleOf));
      const ids = added.map(({ id }) => id);
      const answer: AddedManyAnswer = { policy: 'local', ids, generation: policy.generation };
      return reply.code(201).send(answer);
    },
  );
}

function addRemoval(app: Application, { policy, sandboxes }: Services): void {
  app.delete(
    '/policy/network/rules',
    {
      schema: {
        querystring: RuleSelector,
        body: RuleSelector.nullish(),
        response: { 200: Removed, ...FAILURES },
      },
    },
    async ({ query, body }): Promise<RemovedAnswer> => {
      const { id, resource, sandbox, methods, paths } = { ...query, ...body };
      const resources = resource === undefined ? undefined : listsOf(resource);
      const scope = sandbox === undefined ? GLOBAL_SCOPE : sandboxes.numberOf(sandbox);
      const removed = await policy.remove({
        id,
        resources,
        sandbox,
        methods: methods?.split(','),
        paths: paths === undefined ? undefined : listsOf(paths),
      });
      return {
        policy: 'local',
        scope: scopeName(removed[0]?.rule.scope ?? scope, sandboxes),
        removed: removed.map(({ rule, resources }) => ({ id: rule.id, resources })),
        generation: policy.generation,
      };
    },
  );
}

function ruleOf({ resources, ...rule }: z.infer<typeof RuleToAdd>): NewRule {
  return { ...rule, resources: listsOf(resources) };
}

/** One string of 10^6 rules would be near the longest that there can be; this is in pieces. */
function* jsonOf(listings: Iterable<RuleListing>, bypass: readonly string[]): Iterable<string> {
  yield '{"rules":[';
  let first = true;
  let chunk: string[] = [];
  const text = (): string => {
    const joined = `${first ? '' : ','}${chunk.join(',')}`;
    first = false;
    chunk = [];
    return joined;
  };
  for (const listing of listings) {
    chunk.push(JSON.stringify(listing));
    if (chunk.length === LISTINGS_PER_CHUNK) yield text();
  }
  if (chunk.length > 0) yield text();
  yield `],"bypass":${JSON.stringify(bypass)}}`;
}
