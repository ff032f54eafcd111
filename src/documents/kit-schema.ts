// The form of a kit's network rules: network-policy@1 and @2 of the public kit specification. What its texts
// must say is checked by the grammar (policy/kit.ts).
import { z } from 'zod';
import { KIT_ENTRIES_MAX, KIT_NAME_CHARACTERS_MAX, RULE_RESOURCES_MAX } from '../base/limits.ts';
import { METHODS } from '../policy/http.ts';
import { KIT_PHASES } from '../policy/kit.ts';

const Hosts = z.array(z.string()).min(1).max(RULE_RESOURCES_MAX);

/** Requests to hosts, or hosts alone. */
const EntryObject = z
  .strictObject({
    hosts: Hosts,
    methods: z
      .array(z.enum(['ANY', ...METHODS]))
      .min(1)
      .optional()
      .describe('Only these requests; ANY stands alone.'),
    paths: z.array(z.string()).min(1).optional().describe('With methods: /a, /a/*, /a/**.'),
  })
  .refine(({ methods, paths }) => paths === undefined || methods !== undefined, {
    error: 'paths need methods; methods: [ANY] is all of them',
  });

const Entry = z.union([z.string(), EntryObject], {
  error: 'it must be a host, or hosts with methods and paths',
});

function listsOf<E extends z.ZodType>(entry: E) {
  const list = z.array(entry).max(KIT_ENTRIES_MAX).optional();
  return z.strictObject({ allow: list, deny: list });
}

/** network-policy@1: hosts alone. */
export const HostLists = listsOf(z.string());
/** network-policy@2 */
export const EntryLists = listsOf(Entry);

export const KitPhaseName = z.enum(KIT_PHASES);

export const KitName = z
  .string()
  .regex(/^[\x20-\x7e]+$/, 'it must be of printable ASCII')
  .max(KIT_NAME_CHARACTERS_MAX);

/** A kit as the control API takes it. */
export const KitBody = z.strictObject({
  name: KitName,
  install: EntryLists.optional().describe('While the sandbox is set up.'),
  runtime: EntryLists.optional().describe('While the agent runs.'),
});

export type EntryListsText = z.infer<typeof EntryLists>;
export type KitText = z.infer<typeof KitBody>;
