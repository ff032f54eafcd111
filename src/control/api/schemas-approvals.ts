// The shapes of the routes for approvals.
import { z } from 'zod';
import { APPROVAL_LIFE_MS_MAX, APPROVAL_LIFE_MS_MIN } from '../../base/limits.ts';
import { APPROVAL_OPTIONS, type ApprovalOption } from '../policy/approvals.ts';

const Options = Object.keys(APPROVAL_OPTIONS) as [ApprovalOption, ...ApprovalOption[]];

export const ApprovalsQuery = z.strictObject({ sandbox: z.string().optional() });
export const ApprovalId = z.strictObject({ id: z.string() });

export const ApprovalBody = z.object({
  id: z.string().describe('The same for each time that this destination is asked for.'),
  sandbox: z.string(),
  title: z.string().describe('host:port'),
  detail: z.string(),
  protocol: z.literal('TCP'),
  resource_type: z.enum(['domain', 'ip']),
  policy: z.string().describe('By which an approval is required.'),
  options: z.array(z.object({ id: z.enum(Options), label: z.string() })),
  first_seen: z.string(),
  last_seen: z.string(),
  count: z.number().describe('How often it was asked for.'),
  waiting: z.number().describe('Requests that are held for it now.'),
});

export const ApprovalsAnswer = z.object({
  approvals: z.array(ApprovalBody).describe('The one that was asked for last stands first.'),
});

export const ResponseBody = z.strictObject({
  option: z.enum(Options),
  for_ms: z
    .int()
    .min(APPROVAL_LIFE_MS_MIN)
    .max(APPROVAL_LIFE_MS_MAX)
    .optional()
    .describe('With allow: how long the rule stays. Absent: until it is removed.'),
});

export const ResponseAnswer = z.object({
  recorded: z.string().describe('The label of the option.'),
  rule: z.string().optional().describe('Id of the rule that was made.'),
  expires_at: z.string().optional(),
});

export type ApprovalListing = z.infer<typeof ApprovalBody>;
export type ApprovalListings = z.infer<typeof ApprovalsAnswer>;
export type ApprovalResponded = z.infer<typeof ResponseAnswer>;
