// The shapes of the routes that help to write policy.
import { z } from 'zod';
import { CheckBody } from './schemas.ts';

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

export type ExplainedRule = z.infer<typeof RuleFacts>;
export type ExplainResult = z.infer<typeof ExplainAnswer>;
