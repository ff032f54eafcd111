// The shapes of the routes that help to write policy.
import { z } from 'zod';
import { RULES_MAX } from '../../base/limits.ts';
import { RULE_ID } from '../../documents/schema.ts';
import { FILESYSTEM_DEFAULTS } from '../../policy/presets.ts';
import { CheckBody, RuleToAdd } from './schemas.ts';

export const ExplainBody = CheckBody.omit({ verbose: true });

const RuleFacts = z.object({
  rule: z.string().describe('Its name; user rules with their source before it.'),
  source: z.enum(['local', 'kit', 'remote']),
  scope: z.string().describe('global or sandbox:NAME'),
  decision: z.enum(['allow', 'deny']),
  resource: z.string().describe('That of its resources which this is about.'),
  methods: z.array(z.string()).readonly().optional(),
  paths: z.array(z.string()).readonly().optional(),
});

export const ExplainAnswer = z.object({
  target: z.string(),
  method: z.string().optional(),
  context: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  allowed: z.boolean(),
  why: z.string().describe('One sentence.'),
  reason: z.string().optional().describe('As `policy check` and the log have it.'),
  rule: z.string().optional().describe('The rule that decides.'),
  considered: z
    .array(
      RuleFacts.extend({
        standing: z.enum(['decides', 'agrees', 'overruled', 'other-request', 'unnamed']),
        why: z.string(),
      }),
    )
    .describe('Rules that cover the host; the deciding one first.'),
  considered_total: z.number(),
  inactive: z
    .array(RuleFacts.extend({ why: z.string() }))
    .describe('Rules that cover the host and do not count while the organization governs.'),
  nearest: z
    .array(RuleFacts.extend({ why: z.string() }))
    .describe('When nothing matched: allow rules that nearly did.'),
  change: z.object({
    to: z.enum(['allow', 'deny']),
    commands: z.array(z.string()).describe('Behind the name of the program.'),
    note: z.string().optional(),
  }),
  generation: z.number(),
});

const Place = z
  .string()
  .optional()
  .describe('Where it stands in a file: begins what is wrong with it.');

export const ApplyBody = z.strictObject({
  mode: z
    .enum(['replace', 'add'])
    .default('replace')
    .describe('replace: other rules go, global ones and those of the sandboxes named here.'),
  dry_run: z.boolean().default(false).describe('Only say what would be done.'),
  preset: z.string().nullable().default(null).describe('Null only with mode add.'),
  preset_rules: z
    .array(
      z.strictObject({
        id: z.string().regex(/^default-[a-z0-9-]{1,56}$/),
        resources: z.array(z.string()).min(1),
      }),
    )
    .nullable()
    .default(null)
    .describe('What the rules of the preset allow; null: as this version has them.'),
  rules: z
    .array(RuleToAdd.extend({ id: z.string().regex(RULE_ID).optional(), at: Place }))
    .max(RULES_MAX),
  filesystem: z
    .array(
      z.strictObject({
        decision: z.enum(['allow', 'deny']),
        accesses: z.array(z.enum(['read', 'write'])).min(1),
        patterns: z.array(z.string()).min(1),
        sandbox: z.string().optional(),
        at: Place,
      }),
    )
    .nullable()
    .default(null)
    .describe('Which paths may be mounted; null: as it is.'),
  preset_filesystem: z
    .array(
      z.strictObject({
        id: z.enum(FILESYSTEM_DEFAULTS.map(({ id }) => id) as [string, ...string[]]),
        patterns: z.array(z.string()).min(1),
      }),
    )
    .nullable()
    .default(null)
    .describe('What the filesystem rules of the preset allow; null: all paths, or as it is.'),
  sandboxes: z
    .array(z.strictObject({ name: z.string(), at: Place }))
    .default([])
    .describe('Those without rules here lose theirs, too.'),
});

const PlannedRule = z.object({
  id: z.string().optional(),
  scope: z.string().describe('global or sandbox:NAME'),
  decision: z.enum(['allow', 'deny']),
  resources: z.array(z.string()),
  protocols: z
    .array(z.enum(['tcp', 'udp']))
    .readonly()
    .optional()
    .describe('Of a network rule.'),
  methods: z.array(z.string()).readonly().optional(),
  paths: z.array(z.string()).readonly().optional(),
  access: z.enum(['read', 'write']).optional().describe('Of a filesystem rule.'),
});

export const ApplyAnswer = z.object({
  applied: z.boolean().describe('false for a dry run.'),
  preset: z.object({ before: z.string().nullable(), after: z.string() }),
  changes: z
    .array(
      z.object({
        op: z.enum(['add', 'remove', 'change']),
        rule: PlannedRule,
        before: PlannedRule.optional().describe('Of a change.'),
      }),
    )
    .describe('The first of them.'),
  added: z.number(),
  removed: z.number(),
  changed: z.number(),
  kept: z.number(),
  generation: z.number(),
});

export type ExplainedRule = z.infer<typeof RuleFacts>;
export type ExplainResult = z.infer<typeof ExplainAnswer>;
export type ApplyRequest = z.input<typeof ApplyBody>;
export type ApplyResult = z.infer<typeof ApplyAnswer>;
