// `policy apply` and `policy export`: the local policy as a file, for version control.
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ApplyRequest, ApplyResult } from '../control/api/schemas-tools.ts';
import type { PolicyDocument } from '../documents/document.ts';
import { documentText, writeDocument } from '../documents/write.ts';
import { methodNames } from '../policy/http.ts';
import { isMadeId } from '../policy/reasons.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { readPolicyFile, runningDocument, writeText } from './policy-source.ts';
import { ensureInitialized } from './setup.ts';

type ApplyOptions = { readonly add?: boolean; readonly dryRun?: boolean; readonly json?: boolean };
type ExportOptions = { readonly global?: boolean; readonly json?: boolean };

export function addDocumentCommands(policy: Command, context: Context): void {
  policy
    .command('apply')
    .description('make the local policy what a file says, all or nothing')
    .argument('<file>', 'a policy file (YAML or JSON), - for stdin')
    .option('--dry-run', 'only say what would change')
    .option('--add', 'add the rules of the file to those that are there; nothing is removed')
    .option('--json', 'print JSON')
    .addHelpText('after', APPLY_HELP)
    .action((file: string, options: ApplyOptions) => apply(context, file, options));
  policy
    .command('export')
    .description('write the local policy as a file that apply takes')
    .argument('[file]', 'default: stdout')
    .option('-g, --global', 'without the rules of sandboxes')
    .option('--json', 'write JSON, which is YAML too')
    .action((file: string | undefined, options: ExportOptions) => save(context, file, options));
}

const APPLY_HELP = `
What the file does not say goes: global rules, and rules of the sandboxes that it names. Rules of
other sandboxes, of kits and of the organization stay, as do approvals that end, and filesystem rules
if the file has no \`filesystem\`. The form is in docs/policy.schema.json.

  version: 1
  preset: deny-all
  rules:
    - allow: [api.example.com, "*.cdn.example.com:443"]
    - {allow: api.github.com, methods: [GET], paths: [/repos/**]}
  sandboxes:
    my-sandbox:
      - deny: ads.example.com
  filesystem:
    - deny: ~/.ssh/**
`;

async function apply(context: Context, file: string, options: ApplyOptions): Promise<void> {
  const document = await readPolicyFile(context, file);
  if (document.preset === null && !options.add) {
    throw new SallyportError(
      'SALLYPORT_POLICY_INVALID',
      `${file}: it names no preset, so it is no whole policy; --add adds its rules to those that are there`,
    );
  }
  await withDaemon(context, async (client) => {
    if (options.add) await ensureInitialized(context, client);
    const result = await client.post<ApplyResult>('/policy/apply', bodyOf(document, options));
    if (options.json) printJson(context, result);
    else context.out(resultText(result));
  });
}

function bodyOf(document: PolicyDocument, { add, dryRun }: ApplyOptions): ApplyRequest {
  const { preset, presetRules, rules, sandboxes, filesystem, presetFilesystem } = document;
  return {
    mode: add ? 'add' : 'replace',
    dry_run: dryRun === true,
    preset,
    preset_rules:
      presetRules?.map(({ id, resources }) => ({
        id,
        resources: resources.map(({ text }) => text),
      })) ?? null,
    rules: rules.map(({ id, decision, resources, protocols, http, sandbox, at }) => ({
      ...(id !== null && { id }),
      ...(sandbox !== null && { sandbox }),
      decision,
      resources: resources.map(({ text }) => text),
      ...(http === undefined && { protocols: [...protocols] }),
      ...(http && { methods: [...methodNames(http)], paths: [...http.paths] }),
      at,
    })),
    filesystem:
      filesystem?.map(({ decision, accesses, patterns, sandbox, at }) => ({
        decision,
        accesses: [...accesses],
        patterns: patterns.map(({ text }) => text),
        ...(sandbox !== null && { sandbox }),
        at,
      })) ?? null,
    preset_filesystem:
      presetFilesystem?.map(({ id, patterns }) => ({
        id,
        patterns: patterns.map(({ text }) => text),
      })) ?? null,
    sandboxes: [...sandboxes],
  };
}

function resultText(result: ApplyResult): string {
  const { applied, preset, changes, added, removed, changed, kept } = result;
  const hidden = added + removed + changed - changes.length;
  const isSame = preset.before === preset.after;
  if (isSame && added + removed + changed === 0) {
    return `No changes: the policy is what the file says (${kept} rules).\n`;
  }
  const lines = [
    ...(isSame ? [] : [`preset: ${preset.before ?? 'none'} -> ${preset.after}`]),
    ...changes.flatMap(changeLines),
    ...(hidden > 0 ? [`and ${hidden} more`] : []),
  ];
  const counts = `${added} added, ${removed} removed, ${changed} changed, ${kept} kept`;
  const summary = applied
    ? `Policy applied: ${counts}`
    : `Nothing was changed (--dry-run): ${counts}`;
  return `${[...lines, summary].join('\n')}\n`;
}

type Change = ApplyResult['changes'][number];

function changeLines({ op, rule, before }: Change): string[] {
  if (before !== undefined) return [`- ${ruleText(before)}`, `+ ${ruleText(rule)}`];
  return [`${op === 'add' ? '+' : '-'} ${ruleText(rule)}`];
}

function ruleText({
  id,
  scope,
  decision,
  resources,
  protocols,
  methods,
  paths,
  access,
}: Change['rule']): string {
  const requests = methods === undefined ? '' : `${methods} ${paths?.join(', ')}`;
  const what = access ?? (methods === undefined ? protocols?.join(',') : requests);
  const name = id === undefined || isMadeId(id) ? '' : ` ${id}`;
  return `${decision} ${resources.join(', ')} [${what}] (${scope}${name})`;
}

async function save(
  context: Context,
  file: string | undefined,
  { global, json }: ExportOptions,
): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const all = await runningDocument(client);
    const document = global
      ? { ...all, rules: all.rules.filter(({ sandbox }) => sandbox === null), sandboxes: [] }
      : all;
    const text = json
      ? `${JSON.stringify(documentText(document), null, 2)}\n`
      : writeDocument(document, { header: HEADER });
    if (file === undefined || file === '-') context.out(text);
    else writeText(file, text);
  });
}

const HEADER = ['A Sallyport policy: put in force with `policy apply`.'];
