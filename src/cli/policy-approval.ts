// `policy approval ls|inspect|respond`: what no rule covers, answered by a person.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type {
  ApprovalListing,
  ApprovalListings,
  ApprovalResponded,
} from '../control/api/schemas-approvals.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { type FormatOptions, print, withFormat } from './format.ts';
import { table } from './render.ts';
import { durationText, lifetime, sandboxNamed } from './values.ts';

const OPTIONS = ['allow', 'once', 'dismiss'] as const;

type ListOptions = FormatOptions & {
  readonly sandbox?: string;
  readonly quiet?: boolean;
};
type RespondOptions = {
  readonly option: (typeof OPTIONS)[number];
  readonly for?: number | null;
  readonly json?: boolean;
};

/** Of `daemon start`. */
export function withApprovalOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--approvals <mode>',
        'ask a person about what no rule covers (ask), and hold the request meanwhile (wait)',
      ).choices(['off', 'ask', 'wait']),
    )
    .option('--approval-wait <duration>', 'how long to hold it, from 1s to 5m', durationText);
}

/** As commander names them, and the settings that they are. */
export const APPROVAL_SETTINGS = {
  approvals: 'policy.approvals',
  approvalWait: 'policy.approvalWait',
} as const;

export function addApprovalCommands(policy: Command, context: Context): void {
  const approval = policy
    .command('approval')
    .alias('approvals')
    .description('answer what no rule covers (see daemon start --approvals)');
  withFormat(approval.command('ls'))
    .alias('list')
    .description('list what waits for an answer, the latest first')
    .argument('[sandbox]', 'of this sandbox alone')
    .option('--sandbox <name>', 'the same')
    .option('-q, --quiet', 'ids alone')
    .action((sandbox: string | undefined, options: ListOptions) =>
      list(context, sandboxNamed(options.sandbox, sandbox), options),
    );
  withFormat(approval.command('inspect'))
    .description('show one, with the answers that there are')
    .argument('<id>', 'as ls shows it')
    .action((id: string, options: FormatOptions) =>
      withDaemon(context, async (client) => {
        const found = await client.get<ApprovalListing>(pathOf(id));
        print(context, options, found, blockOf);
      }),
    );
  approval
    .command('respond')
    .description('answer one')
    .argument('<id>', 'as ls shows it')
    .addOption(
      new Option('--option <option>', 'allow makes a rule for it, once lets one request pass')
        .choices(OPTIONS)
        .makeOptionMandatory(),
    )
    .option('--for <time>', 'with allow: 30m, 1h, 7d, or always (the default)', lifetime)
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action((id: string, options: RespondOptions) => respond(context, id, options));
}

const EXAMPLES = `
Examples:
  $ sbx policy approval respond network:KkN2... --option allow --for 1h
  $ sbx policy approval respond network:KkN2... --option once
  $ sbx policy approval respond network:KkN2... --option dismiss
`;

async function list(
  context: Context,
  sandbox: string | undefined,
  { quiet, ...options }: ListOptions,
): Promise<void> {
  await withDaemon(context, async (client) => {
    const answer = await client.get<ApprovalListings>('/policy/approvals', { sandbox });
    print(context, options, answer, ({ approvals }) => listingOf(approvals, quiet === true));
  });
}

function listingOf(approvals: readonly ApprovalListing[], quiet: boolean): string {
  if (quiet) return approvals.map(({ id }) => `${id}\n`).join('');
  if (approvals.length === 0) return 'No approvals are waiting.\n';
  const rows = approvals.map((one) => [one.id, one.sandbox, one.title, one.detail]);
  return table(['APPROVAL', 'SANDBOX', 'TITLE', 'DETAIL'], rows);
}

async function respond(
  context: Context,
  id: string,
  { option, for: lifeMs, json }: RespondOptions,
): Promise<void> {
  if (lifeMs !== undefined && option !== 'allow') {
    throw new SallyportError('SALLYPORT_USAGE', '--for is for --option allow alone');
  }
  await withDaemon(context, async (client) => {
    const life = typeof lifeMs === 'number' ? { for_ms: lifeMs } : {};
    const said = await client.post<ApprovalResponded>(pathOf(id), { option, ...life });
    if (json) return printJson(context, said);
    const until = said.expires_at === undefined ? '' : ` (until ${said.expires_at})`;
    context.out(`Recorded: ${said.recorded}${until}\n`);
  });
}

function pathOf(id: string): string {
  return `/policy/approvals/${encodeURIComponent(id)}`;
}

function blockOf(approval: ApprovalListing): string {
  const { id, sandbox, title, protocol, resource_type: type, detail, policy, options } = approval;
  const rows = options.map((one) => [one.id, one.label]);
  const lines = [
    `APPROVAL ${id}  (sandbox: ${sandbox})`,
    `  ${title}`,
    `  Protocol: ${protocol}`,
    `  Resource type: ${type}`,
    `  ${detail}`,
    `  approval required by policy "${policy}"`,
    '',
    ...table(['OPTION', 'LABEL'], rows)
      .trimEnd()
      .split('\n')
      .map((line) => `  ${line}`),
  ];
  return `${lines.join('\n')}\n`;
}
