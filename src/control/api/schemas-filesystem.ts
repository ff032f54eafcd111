// The shapes of the routes for filesystem rules and mounts.
import { z } from 'zod';
import { FILE_RULE_PATTERNS_MAX } from '../../base/limits.ts';
import { GovernanceBody, RuleListingBody } from './schemas.ts';
import { ExplainAnswer } from './schemas-tools.ts';

const Accesses = z
  .array(z.enum(['read', 'write']))
  .min(1)
  .max(2);
const Patterns = z.array(z.string()).min(1).max(FILE_RULE_PATTERNS_MAX);

export const PathRuleToAdd = z.strictObject({
  decision: z.enum(['allow', 'deny']),
  resources: Patterns.describe('Each an exact path, or with * and **.'),
  accesses: Accesses.optional().describe('One rule each. Default: read for allow, both for deny.'),
  sandbox: z.string().optional().describe('Absent: global.'),
});

export const PathRuleSelector = z.strictObject({
  id: z.string().optional().describe('With or without the prefix local:'),
  resources: Patterns.optional().describe('Out of every rule of the scope that names them.'),
  accesses: Accesses.optional().describe('With resources: out of rules for these alone.'),
  sandbox: z.string().optional(),
});

export const PathRulesAdded = z.object({
  policy: z.literal('local'),
  rules: z.array(RuleListingBody),
  generation: z.number(),
});

export const MountBody = z.strictObject({
  path: z.string().describe('Absolute, or ~ with what follows; links are followed.'),
  writable: z.boolean().default(false),
  sandbox_id: z.string().optional().describe('Absent: by global rules alone.'),
});

const AccessVerdict = z.object({
  action: z.enum(['fs:mount:read', 'fs:mount:write']),
  allowed: z.boolean(),
  rule: z.string().optional().describe('The rule that decides.'),
  origin: z.string().optional(),
  deny_kind: z.enum(['explicit', 'implicit']).optional(),
  reason: z.string().optional(),
});

export const MountAnswer = z.object({
  type: z.literal('filesystem'),
  target: z.string().describe('As asked for.'),
  action: z.string().describe('The first that is denied, or the last that is needed.'),
  resource_type: z.literal('fs:path'),
  resource_value: z.string().describe('Where the path leads: mount this, and not what was asked.'),
  found: z
    .object({ device: z.string(), inode: z.string(), directory: z.boolean() })
    .nullable()
    .describe('What was there; null: nothing. To be compared with what is mounted.'),
  allowed: z.boolean(),
  context: z.string(),
  governance: GovernanceBody,
  deny_kind: z.enum(['explicit', 'implicit']).optional(),
  origin: z.string().optional(),
  reason: z.string().optional(),
  rule: z.string().optional().describe('The rule that denies.'),
  accesses: z.array(AccessVerdict).describe('Reading before writing.'),
  message: z.string().optional().describe('What a runtime is told that may not mount.'),
  generation: z.number(),
});

export const MountExplainAnswer = ExplainAnswer.omit({ protocol: true, method: true });

export type PathRulesAddedAnswer = z.infer<typeof PathRulesAdded>;
export type MountResult = z.infer<typeof MountAnswer>;
export type MountExplained = z.infer<typeof MountExplainAnswer>;
