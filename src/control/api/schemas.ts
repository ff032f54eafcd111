// The shapes of the control API, checked on the way in, and printed at /openapi.json. Answers have
// the field names that sbx clients know; ours come beside them.
import { z } from 'zod';
import {
  DRAIN_TIMEOUT_MS_MAX,
  HTTP_PATHS_MAX,
  RULE_RESOURCES_MAX,
  RULES_MAX,
} from '../../base/limits.ts';
import { KitBody, KitPhaseName } from '../../documents/kit-schema.ts';
import { METHODS } from '../../policy/http.ts';
import { AUDIT_MODES } from '../audit/settings.ts';
import { LOG_LEVELS } from './services.ts';

export const ErrorBody = z.object({
  message: z.string(),
  code: z.string().describe('Stable; docs/errors.md explains each.'),
  hint: z.string().describe('What to do next.'),
});

const Protocols = z.array(z.enum(['tcp', 'udp'])).min(1);
const Methods = z.array(z.string()).min(1).max(METHODS.length);
const Resources = z
  .union([z.string(), z.array(z.string()).min(1).max(RULE_RESOURCES_MAX)])
  .describe('One comma list, or several.');

export const RuleToAdd = z.strictObject({
  decision: z.enum(['allow', 'deny']),
  resources: Resources,
  protocols: Protocols.optional().describe('Default: tcp for allow, tcp and udp for deny.'),
  sandbox: z.string().optional().describe('Absent: global.'),
  methods: Methods.optional().describe('An HTTP rule: these methods, or ANY alone.'),
  paths: z
    .array(z.string())
    .max(HTTP_PATHS_MAX)
    .optional()
    .describe('With methods: /a, /a/*, /a/**. Absent: all.'),
});

export const RulesToAdd = z.strictObject({ rules: z.array(RuleToAdd).min(1).max(RULES_MAX) });

export const RuleSelector = z.strictObject({
  id: z.string().optional().describe('With or without the prefix local:'),
  resource: Resources.optional(),
  sandbox: z.string().optional(),
  methods: z.string().optional().describe('Comma list: only HTTP rules with exactly these.'),
  paths: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('With methods: only HTTP rules with exactly these paths.'),
});

export const RuleFilter = z.strictObject({
  type: z.enum(['all', 'network', 'http', 'filesystem']).default('network'),
  sandbox: z.string().optional(),
  include_inactive: z.stringbool().default(false),
});

export const RuleListingBody = z.object({
  id: z.string(),
  name: z.string(),
  policy_id: z.string(),
  policy_name: z.string().optional(),
  scope: z.string(),
  applies_to: z.string(),
  sandbox_id: z.string().optional(),
  resource_type: z.enum(['network', 'http', 'filesystem:read', 'filesystem:write']),
  decision: z.enum(['allow', 'deny']),
  resources: z.array(z.string()).readonly(),
  methods: z.array(z.string()).readonly().optional().describe('Of an HTTP rule.'),
  paths: z.array(z.string()).readonly().optional().describe('Of an HTTP rule.'),
  origin: z.enum(['local', 'scoped', 'kit', 'org']),
  layer: z.enum(['local', 'kit', 'org']),
  status: z.enum(['active', 'inactive']),
  inactive_reason: z.string().optional(),
  editable: z.boolean(),
  read_only_reason: z.string().optional(),
  provenance: z.object({ created_via: z.string() }),
  expires_at: z.string().optional().describe('Of one that ends by itself.'),
  actions: z.array(z.string()).readonly(),
});

export const InspectQuery = z.strictObject({
  selector: z.string().describe('Id or name of a rule or a policy; rule:NAME, policy:NAME.'),
});

export const InspectAnswer = z.object({
  policy: z.object({ id: z.string(), name: z.string(), source: z.string() }),
  rules: z.array(
    RuleListingBody.extend({
      remove_command: z.string().optional().describe('Absent for what cannot be removed.'),
      override_command: z.string().optional().describe('Of a kit: denies what it allows.'),
    }),
  ),
});

export const Added = z.object({
  policy: z.literal('local'),
  rules: z.array(RuleListingBody),
  generation: z.number(),
});

export const AddedMany = z.object({
  policy: z.literal('local'),
  ids: z.array(z.string()).describe('In the order of the rules that were sent.'),
  generation: z.number(),
});

export const Removed = z.object({
  policy: z.literal('local'),
  scope: z.string(),
  removed: z.array(z.object({ id: z.string(), resources: z.array(z.string()).readonly() })),
  generation: z.number(),
});

export const GovernanceBody = z.object({
  active: z.boolean(),
  organization: z.string().optional(),
  organization_unavailable: z.boolean().optional(),
  last_synced_status: z.string().optional(),
  last_synced_message: z.string().optional(),
  last_synced_at: z.string().optional(),
});

export const CheckBody = z.strictObject({
  type: z.literal('network').default('network'),
  target: z.string().describe('Host, host:port, address or URL; port 443 unless named.'),
  sandbox_id: z.string().optional(),
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  method: z.string().optional().describe('Of one request; the path is that of the URL.'),
  verbose: z.boolean().default(false).describe('Tell of interception too.'),
});

export const CheckAnswer = z.object({
  action: z.string(),
  allowed: z.boolean(),
  context: z.string(),
  deny_kind: z.enum(['explicit', 'implicit']).optional(),
  governance: GovernanceBody,
  origin: z.string().optional(),
  reason: z.string().optional(),
  resource_type: z.string(),
  resource_value: z.string(),
  rule: z.string().optional(),
  matched_rule: z.string().optional().describe('The rule that allows; ours.'),
  interception: z
    .object({
      intercepted: z.boolean(),
      reason: z.string(),
      credentials: z.array(
        z.object({ id: z.string(), name: z.string(), kind: z.string(), policy: z.string() }),
      ),
    })
    .optional()
    .describe('Whether TLS to the target would be terminated, why, and what would be injected.'),
  generation: z.number(),
  target: z.string(),
  type: z.literal('network'),
});

export const SetupBody = z.strictObject({ preset: z.string() });
export const SetupAnswer = z.object({
  initialized: z.boolean(),
  preset: z.string().nullable(),
  presets: z.array(z.string()).readonly(),
});

export const SandboxToAdd = z.strictObject({
  name: z.string(),
  listen: z.string().optional().describe('HOST:PORT of a listener of its own.'),
  unix: z.string().optional().describe('Path of a unix socket of its own.'),
  source_address: z.string().optional(),
  deny: z
    .enum(['inside', 'connect'])
    .optional()
    .describe('Where refused CONNECTs are told; absent: as the daemon was started.'),
  kit: KitBody.optional().describe('The rules that it comes with.'),
  phase: KitPhaseName.optional().describe('Absent: runtime.'),
});

export const PhaseBody = z.strictObject({ phase: KitPhaseName });

export const SandboxBody = z.object({
  name: z.string(),
  id: z.string(),
  number: z.number(),
  status: z.literal('running'),
  listen: z.string().nullable(),
  source_address: z.string().nullable(),
  deny: z.enum(['inside', 'connect']).nullable(),
  kit: z.string().nullable().describe('Its name.'),
  phase: KitPhaseName,
  created_at: z.string(),
});

export const SandboxIssued = SandboxBody.extend({
  proxy_url: z.string().describe('Carries the token; shown this once.'),
});

export const SandboxName = z.strictObject({ name: z.string() });

export const LogQuery = z.strictObject({
  sandbox: z.string().optional(),
  limit: z.coerce.number().int().min(0).default(0).describe('The latest; 0 for all.'),
  type: z.enum(['all', 'network', 'filesystem']).default('network'),
  decision: z.enum(['allow', 'deny']).optional(),
  host: z.string().optional().describe('Resources, in the grammar of rules.'),
  rule: z.string().optional().describe('Id of a rule, or default-deny.'),
  since: z.iso.datetime({ offset: true }).optional().describe('Seen since.'),
});

/** All types unless said otherwise: what is live has no sbx to be like. */
export const LiveQuery = LogQuery.omit({ limit: true, since: true }).extend({
  type: z.enum(['all', 'network', 'filesystem']).default('all'),
});

const LogRowBody = z.object({
  host: z.string().describe('host:port, or a path.'),
  type: z.enum(['network', 'filesystem']),
  vm_name: z.string(),
  proxy_type: z.string(),
  rule: z.string(),
  reason: z.string().optional(),
  last_seen: z.string(),
  since: z.string(),
  count_since: z.number(),
});

export const LogAnswer = z.object({
  blocked_hosts: z.array(LogRowBody),
  allowed_hosts: z.array(LogRowBody),
});

export const StopBody = z
  .strictObject({ drain_timeout_ms: z.number().int().min(0).max(DRAIN_TIMEOUT_MS_MAX).optional() })
  .nullish();

export const LogLevelBody = z.object({ general: z.enum(LOG_LEVELS), proxy: z.enum(LOG_LEVELS) });
export const LogLevelChange = LogLevelBody.partial().strict();

export const HealthAnswer = z.object({
  status: z.literal('ok'),
  api_version: z.string(),
  release: z.string(),
  revision: z.string(),
  version: z.string(),
});

export const StatusAnswer = z.object({
  pid: z.number(),
  socket: z.string(),
  listen: z.string(),
  workers: z.number(),
  restarts: z.number(),
  generation: z.number(),
  rules: z.number(),
  sandboxes: z.number(),
  preset: z.string().nullable(),
  uptime_ms: z.number(),
  version: z.string(),
  log: z.string().nullable(),
  audit: z.string(),
  audit_mode: z.enum(AUDIT_MODES),
  audit_bytes: z.number().describe('On the disk.'),
  audit_keep_bytes: z.number().describe('Beyond this the oldest files are deleted.'),
  audit_keep_ms: z.number().nullable().describe('Older files are deleted; null: none are.'),
  log_keep_ms: z.number().nullable().describe('Rows not seen for longer are forgotten.'),
  log_rows_max: z.number().describe('Of `policy log`; the oldest leave first.'),
  audit_problem: z.string().nullable().describe('Why it cannot be written at present.'),
  audit_lost: z.number().describe('Records that are missing since the start.'),
  audit_refused: z.number().describe('Exchanges refused for want of a record since the start.'),
  key_place: z.enum(['file', 'keychain']).nullable().describe('Null until the first secret.'),
  key_file: z.string(),
  key_problem: z.string().nullable().describe('Why the key of the secrets cannot be had.'),
});

export type AddedAnswer = z.infer<typeof Added>;
export type AddedManyAnswer = z.infer<typeof AddedMany>;
export type RemovedAnswer = z.infer<typeof Removed>;
export type Inspected = z.infer<typeof InspectAnswer>;
export type CheckResult = z.infer<typeof CheckAnswer>;
export type SetupStatus = z.infer<typeof SetupAnswer>;
export type SandboxListing = z.infer<typeof SandboxBody>;
export type SandboxIssue = z.infer<typeof SandboxIssued>;
