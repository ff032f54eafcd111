// `policy log`: which hosts the sandboxes have contacted, as sums or live.
import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import type { Query } from '../control/api/client.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { logTime, table } from './render.ts';
import { age, entryCount, sandboxNamed } from './values.ts';

type Row = {
  readonly host: string;
  readonly type: string;
  readonly vm_name: string;
  readonly proxy_type: string;
  readonly rule: string;
  readonly reason?: string;
  readonly last_seen: string;
  readonly count_since: number;
};

/** The answer of GET /network/log. */
export type Log = {
  readonly blocked_hosts: readonly Row[];
  readonly allowed_hosts: readonly Row[];
};

type Live = {
  readonly type: string;
  readonly decision: 'allow' | 'deny';
  readonly host: string;
  readonly status: number;
};

type Options = {
  readonly json?: boolean;
  readonly limit: number;
  readonly quiet?: boolean;
  readonly type: string;
  readonly follow?: boolean;
  readonly sandbox?: string;
  readonly decision?: string;
  readonly host?: string;
  readonly rule?: string;
  readonly since?: number;
};

export function addLogCommand(policy: Command, context: Context): void {
  policy
    .command('log')
    .description('show which hosts the sandboxes have contacted, and which rules matched')
    .argument('[sandbox]', 'this sandbox alone')
    .option('--sandbox <name>', 'the same')
    .option(
      '--limit <n>',
      'the latest n entries; with --follow end after n; 0 for no limit',
      entryCount,
      0,
    )
    .option('-q, --quiet', 'entries alone, no headings')
    .addOption(
      new Option('--type <type>', 'entries of this type')
        .choices(['all', 'network', 'filesystem'])
        .default('all'),
    )
    .addOption(
      new Option('--decision <decision>', 'entries of this decision').choices(['allow', 'deny']),
    )
    .option('--host <resources>', 'entries of these hosts, written as in rules: *.example.com:443')
    .option('--rule <id>', 'entries that this rule decided; default-deny for those without one')
    .addOption(
      new Option(
        '--since <age>',
        'entries seen in this time, such as 5m, 1h or 7d; their COUNT is of all time',
      )
        .argParser(age)
        .conflicts('follow'),
    )
    .option('-f, --follow', 'print decisions as they are made, until Ctrl-C')
    .option('--json', 'print JSON; with --follow one object a line')
    .action((sandbox: string | undefined, options: Options) => {
      const chosen = sandboxNamed(options.sandbox, sandbox);
      return options.follow ? follow(context, chosen, options) : show(context, chosen, options);
    });
}

async function show(
  context: Context,
  sandbox: string | undefined,
  options: Options,
): Promise<void> {
  await withDaemon(context, async (client) => {
    const { limit, since } = options;
    const log = await client.get<Log>('/network/log', {
      ...filterOf(sandbox, options),
      limit,
      since: since && new Date(systemClock.wallMs() - since).toISOString(),
    });
    if (options.json) return printJson(context, log);
    if (log.blocked_hosts.length + log.allowed_hosts.length === 0) {
      return context.out('No policy log entries found\n');
    }
    context.out(logText(log, options.quiet === true));
  });
}

function filterOf(sandbox: string | undefined, { type, decision, host, rule }: Options): Query {
  return { sandbox, type, decision, host, rule };
}

/** The two sections, each when there is something in it. @param quiet  rows alone */
export function logText(log: Log, quiet: boolean): string {
  const sections = [
    section('Blocked requests:', log.blocked_hosts, quiet),
    section('Allowed requests:', log.allowed_hosts, quiet),
  ];
  return sections.filter((text) => text !== '').join(quiet ? '' : '\n');
}

const HEADINGS = ['SANDBOX', 'TYPE', 'HOST', 'PROXY', 'RULE', 'REASON', 'LAST SEEN', 'COUNT'];

function section(title: string, rows: readonly Row[], quiet: boolean): string {
  if (rows.length === 0) return '';
  const text = table(
    HEADINGS,
    rows.map((row) => [
      row.vm_name,
      row.type,
      row.host,
      row.proxy_type,
      row.rule,
      row.reason ?? '',
      logTime(row.last_seen),
      String(row.count_since),
    ]),
  );
  return quiet ? text.slice(text.indexOf('\n') + 1) : `${title}\n${text}`;
}

const VERB_WIDTH = 10;
const HOST_WIDTH = 25;

async function follow(
  context: Context,
  sandbox: string | undefined,
  options: Options,
): Promise<void> {
  const { json, limit } = options;
  await withDaemon(context, async (client) => {
    let shown = 0;
    for await (const live of client.lines<Live>(
      '/network/log/stream',
      filterOf(sandbox, options),
    )) {
      if (json) context.out(`${JSON.stringify(live)}\n`);
      else context.out(liveLine(live));
      shown++;
      if (shown === limit) return;
    }
  });
}

function liveLine({ decision, host, status }: Live): string {
  const verb = decision === 'deny' ? 'BLOCKED' : 'ALLOWED';
  const shown = decision === 'deny' || status === 0 ? '-' : String(status);
  return `${verb.padEnd(VERB_WIDTH)}${host.replace(/:(80|443)$/, '').padEnd(HOST_WIDTH)}${shown}\n`;
}
