// The form of a policy file. What its texts must say is checked by the grammar (policy/rule-facts.ts);
// docs/policy.schema.json is printed from here.
import { z } from 'zod';
import {
  FILE_PATTERNS_MAX,
  FILE_RULE_PATTERNS_MAX,
  HTTP_PATHS_MAX,
  RULE_RESOURCES_MAX,
  RULES_MAX,
} from '../base/limits.ts';
import { METHODS } from '../policy/http.ts';
import { FILESYSTEM_DEFAULTS, PRESET_NAMES } from '../policy/presets.ts';

const LIST = 'it must be a text or a list of texts';
const EITHER = 'a rule has either allow or deny';

const Resources = z
  .union([z.string(), z.array(z.string()).min(1).max(RULE_RESOURCES_MAX)], { error: LIST })
  .meta({
    id: 'Resources',
    description: 'Hosts, addresses and ranges: example.com, *.example.com:443, 10.0.0.0/8.',
  });

/** Ids of presets and those that are made for rules without one are kept apart. */
export const RULE_ID = /^(?!default-)[a-z0-9][a-z0-9._-]{0,63}$/;

export const RuleEntry = z
  .strictObject({
    id: z
      .string()
      .regex(RULE_ID, 'it must be of a-z, 0-9, dot, - and _, and not begin with default-')
      .optional()
      .describe('How lists and records name it. Absent: one is made.'),
    allow: Resources.optional(),
    deny: Resources.optional(),
    protocols: z
      .array(z.enum(['tcp', 'udp']))
      .min(1)
      .optional()
      .describe('Default: tcp for allow, tcp and udp for deny.'),
    methods: z
      .array(z.string())
      .min(1)
      .max(METHODS.length)
      .optional()
      .describe(`Only these requests: ${METHODS.join(', ')}, or ANY alone.`),
    paths: z
      .array(z.string())
      .min(1)
      .max(HTTP_PATHS_MAX)
      .optional()
      .describe('With methods: /a, /a/* (one segment), /a/** (all below). Absent: all.'),
  })
  .refine(({ allow, deny }) => (allow === undefined) !== (deny === undefined), { error: EITHER })
  .meta({ id: 'Rule', oneOf: [{ required: ['allow'] }, { required: ['deny'] }] });

/** Of the filesystem rules that every preset has. */
const FILESYSTEM_IDS = FILESYSTEM_DEFAULTS.map(({ id }) => id) as [string, ...string[]];

const RuleEntries = z.array(RuleEntry).max(RULES_MAX);

const Paths = z
  .union([z.string(), z.array(z.string()).min(1).max(FILE_RULE_PATTERNS_MAX)], { error: LIST })
  .meta({ id: 'Paths', description: 'Paths of the host: ~/src/**, /data/* (one folder).' });

const PathEntry = z
  .strictObject({
    allow: Paths.optional(),
    deny: Paths.optional(),
    access: z
      .array(z.enum(['read', 'write']))
      .min(1)
      .optional()
      .describe('Default: read for allow, read and write for deny.'),
    sandbox: z.string().optional().describe('Absent: for all.'),
  })
  .refine(({ allow, deny }) => (allow === undefined) !== (deny === undefined), { error: EITHER })
  .meta({ id: 'PathRule', oneOf: [{ required: ['allow'] }, { required: ['deny'] }] });

export const DocumentSchema = z
  .strictObject({
    version: z.literal(1, { error: 'this program knows version 1' }),
    preset: z
      .enum(PRESET_NAMES as [string, ...string[]])
      .optional()
      .describe('The policy to begin with. A file without one is no whole policy.'),
    preset_rules: z
      .record(z.string().regex(/^default-[a-z0-9-]+$/, 'it must begin with default-'), Resources)
      .optional()
      .describe(
        'What the rules of the preset allow, where it is not what this version gives them.',
      ),
    rules: RuleEntries.optional().describe('For all sandboxes.'),
    sandboxes: z
      .record(z.string(), RuleEntries)
      .optional()
      .describe('Rules of single sandboxes, by name. Those of others stay as they are.'),
    filesystem: z
      .array(PathEntry)
      .max(FILE_PATTERNS_MAX)
      .optional()
      .describe('Which paths of the host may be mounted. Absent: as it is.'),
    preset_filesystem: z
      .partialRecord(z.enum(FILESYSTEM_IDS), Paths)
      .optional()
      .describe('What the filesystem rules of the preset allow, where it is not all paths.'),
  })
  .meta({ title: 'Sallyport policy' });

export type PathEntryText = z.infer<typeof PathEntry>;
export type RuleEntryText = z.infer<typeof RuleEntry>;
export type DocumentText = z.infer<typeof DocumentSchema>;

/** For editors and other programs (JSON Schema 2020-12). */
export function documentJsonSchema(): object {
  return z.toJSONSchema(DocumentSchema, { io: 'input' });
}
