// The shapes of the public Governance API: what the daemon takes from a server or a signed file, and
// what our own server gives. Strict: a field that is not known here may narrow a grant, so what has
// one is refused and not taken for something wider.
import { z } from 'zod';
import {
  GOVERNANCE_ID_BYTES_MAX,
  GOVERNANCE_NAME_CHARACTERS_MAX,
  GOVERNANCE_RESOURCES_MAX,
  GOVERNANCE_RULES_MAX,
  GOVERNANCE_SUPPORT_CHARACTERS_MAX,
  GOVERNANCE_TEAMS_MAX,
  HTTP_PATH_PATTERN_BYTES_MAX,
} from '../../base/limits.ts';

/** Of what people read in a terminal: nothing that moves its cursor or turns its text around. */
const READABLE = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u;

/** As it stands in the URL of an organisation. */
export const ORGANIZATION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const NameText = z
  .string()
  .min(1)
  .max(GOVERNANCE_NAME_CHARACTERS_MAX)
  .regex(READABLE, 'it has a character that cannot be shown');

const RESOURCE_LENGTH_MAX = 4_096; // Paths are longer than hosts.

export const PolicyId = idOf('pol_');
const RuleId = idOf('rule_');

function idOf(prefix: string): z.ZodString {
  const max = GOVERNANCE_ID_BYTES_MAX - prefix.length;
  return z
    .string()
    .regex(new RegExp(`^${prefix}[A-Za-z0-9_-]{1,${max}}$`), `it is no ${prefix} id`);
}

/** One element: a comma would make two of it, and its port that of the last. */
const ResourceText = z
  .string()
  .min(1)
  .max(RESOURCE_LENGTH_MAX)
  .regex(/^[^,]*$/, 'it has a comma');

const HttpResource = z.strictObject({
  host: ResourceText,
  port: z.number().int().min(1).max(65_535).optional(),
  path: z.string().min(1).max(HTTP_PATH_PATTERN_BYTES_MAX),
});

const Decision = z.enum(['allow', 'deny']);
const RULE_FIELDS = {
  name: NameText,
  actions: z.array(z.string().max(32)).min(1).max(16),
  resources: z.array(ResourceText).min(1).max(GOVERNANCE_RESOURCES_MAX).nullish(),
  http_resources: z.array(HttpResource).min(1).max(GOVERNANCE_RESOURCES_MAX).nullish(),
  decision: Decision,
};

/** A rule without its id, as it is sent to be created. */
export const RuleDraft = z.strictObject(RULE_FIELDS);

/** Fields of people's interest alone. */
const NOTES = {
  description: z.unknown().optional(),
  created_by: z.unknown().optional(),
  updated_by: z.unknown().optional(),
};

export const ApiRule = z.strictObject({
  id: RuleId,
  ...RULE_FIELDS,
  created_at: z.unknown().optional(),
  updated_at: z.unknown().optional(),
  ...NOTES,
});

export const Scope = z.strictObject({
  teams: z.array(NameText).max(GOVERNANCE_TEAMS_MAX).nullish(),
});

const SUMMARY_FIELDS = {
  id: PolicyId,
  name: NameText,
  org: z.string().nullish(),
  scope: Scope.nullish(),
  created_at: z.string().nullish(),
  updated_at: z.string().nullish(),
  type: z.string().max(64),
  ...NOTES,
};

export const PolicySummary = z.strictObject(SUMMARY_FIELDS);

export const Allowlist = z.strictObject({
  domain: z.enum(['network', 'filesystem']),
  rules: z.array(ApiRule).max(GOVERNANCE_RULES_MAX),
});

/** One whose `type` is allowlist_v0. */
export const AllowlistPolicy = z.strictObject({
  ...SUMMARY_FIELDS,
  type: z.literal('allowlist_v0'),
  allowlist_v0: Allowlist,
  cedar_v1: z.null().optional(),
});

export const PolicyPage = z.object({
  data: z.array(z.unknown()),
  next_page_token: z.string().max(4_096).nullish(),
});

/** Ours beside the public API: what the organisation says besides its policies. */
export const Settings = z.strictObject({
  support_message: z
    .string()
    .min(1)
    .max(GOVERNANCE_SUPPORT_CHARACTERS_MAX)
    .regex(READABLE, 'it has a character that cannot be shown')
    .nullable()
    .default(null),
  delegates: z
    .array(z.enum(['network', 'filesystem']))
    .max(2)
    .default([]),
});

export type AllowlistPolicy = z.infer<typeof AllowlistPolicy>;
export type PolicySummary = z.infer<typeof PolicySummary>;
export type RuleDraft = z.infer<typeof RuleDraft>;
export type Settings = z.infer<typeof Settings>;

/** Every fault with its place: `rules.3.actions: ...`. */
export function faultsOf(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ');
}
