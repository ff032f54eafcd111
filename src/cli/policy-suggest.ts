// `policy suggest`: a policy file with the fewest rules that would have let pass what was denied, or
// what was let pass by `**`. It puts nothing in force.
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SUGGEST_NOTES_MAX } from '../base/limits.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { SandboxListing } from '../control/api/schemas.ts';
import { readAudit } from '../control/audit/read.ts';
import { type SeenExchanges, SeenTable } from '../control/audit/seen.ts';
import type { GovernanceFacts } from '../control/governance/status.ts';
import { closed, isOpen, type Suggestion, suggestionOf } from '../control/policy/suggestion.ts';
import { ScopeTable } from '../documents/document.ts';
import { documentText, writeDocument } from '../documents/write.ts';
import { offlineMatcher } from '../matcher/offline.ts';
import type { AddressGuard } from '../policy/judge.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { Rule } from '../policy/rule.ts';
import { type Part, suggest } from '../policy/suggest.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { addressGuardOption } from './policy-diff.ts';
import { runningDocument, runningRules } from './policy-source.ts';
import { ensureInitialized } from './setup.ts';
import { age, eachOf, entryCount } from './values.ts';

type Options = {
  readonly since?: number;
  readonly log?: readonly string[];
  readonly sandbox?: string;
  readonly global?: boolean;
  readonly collapse: number;
  readonly addressGuard: AddressGuard;
  readonly json?: boolean;
};

export function addSuggestCommand(policy: Command, context: Context): void {
  policy
    .command('suggest')
    .description('propose the fewest rules that would have let pass what was denied')
    .option('--since <time>', 'only what began since then: 30m, 1h, 7d', age)
    .option('--sandbox <name>', 'only what this sandbox asked for')
    .option('-g, --global', 'rules for all sandboxes, whichever asked')
    .option(
      '--collapse <n>',
      'so many names under one domain become a wildcard; 0: none',
      entryCount,
      3,
    )
    .option('--log <path>', 'audit files or a folder of them (default: the audit here)', eachOf)
    .addOption(addressGuardOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Prints a file for \`policy apply --add\`. While everything is allowed (\`**\`), it prints a whole policy
instead, for \`policy apply\`: what was let pass, by name, and all else denied. Read it before:
it holds whatever a sandbox asked for.
`,
    )
    .action((options: Options) => run(context, options));
}

type Found = Suggestion & {
  /** In place of the policy that lets everything pass, or to be added. */
  readonly isWhole: boolean;
  readonly omitted: number;
  readonly isGoverned: boolean;
};

async function run(context: Context, options: Options): Promise<void> {
  const found = await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    return find(context, client, options);
  });
  if (options.json) printJson(context, jsonOf(found));
  else context.out(textOf(found, context.program));
}

async function find(context: Context, client: ControlClient, options: Options): Promise<Found> {
  const { addressGuard: guard, sandbox = null, global = false, collapse: collapseMin } = options;
  const scopes = new ScopeTable();
  const rules = await runningRules(client, scopes);
  const isLocal = ({ source }: Rule): boolean => source === 'local';
  const isWhole = rules.filter(isLocal).some(isOpen);
  const base = rules.flatMap((rule): readonly Rule[] => (isLocal(rule) ? closed([rule]) : [rule]));
  const judged = { rules: base, matcher: await offlineMatcher(base) };
  const table = new SeenTable(judged, scopes, { guard, sandbox, allowed: isWhole });
  const since = options.since === undefined ? 0 : systemClock.wallMs() - options.since;
  for await (const one of readAudit(options.log ?? [context.paths.audit], since)) table.add(one);
  const { suggested, refused } = suggest(judged, table.rows, { guard, collapseMin, global });
  const { sandboxes } = await client.get<{ sandboxes: readonly SandboxListing[] }>('/sandbox');
  const there = new Set(sandboxes.map(({ name }) => name));
  const found = { suggested, refused: [...table.refused, ...refused] };
  const { active: isGoverned } = await client.get<GovernanceFacts>('/policy/governance');
  const whole = isWhole ? await runningDocument(client) : null;
  const suggestion = suggestionOf(found, scopes, there, whole);
  return { ...suggestion, isWhole, omitted: table.omitted, isGoverned };
}

function textOf({ document, parts, refused, ...found }: Found, program: string): string {
  const { isWhole, omitted, isGoverned } = found;
  const seen = [...parts.values()].flat().flatMap((part) => part.seen);
  const count = seen.reduce((sum, one) => sum + one.count, 0);
  const notes = refused
    .slice(0, SUGGEST_NOTES_MAX)
    .map(({ seen, why }) => `  ${seenText(seen)}: ${why}`);
  const hidden = refused.length - notes.length;
  const header = [
    `${parts.size} rules for ${count} exchanges that were ${isWhole ? 'let pass by **' : 'denied'}.`,
    `Read them, then: ${program} policy apply${isWhole ? '' : ' --add'} FILE`,
    ...(isGoverned
      ? ['An organization governs: local rules count only where it leaves that to them.']
      : []),
    ...(omitted > 0 ? [`${omitted} exchanges of other kinds were left out.`] : []),
    ...(notes.length > 0 ? ['Not suggested:', ...notes] : []),
    ...(hidden > 0 ? [`  and ${hidden} more`] : []),
  ];
  return writeDocument(document, {
    header,
    of: (rule) => (parts.get(rule) ?? []).flatMap(partLines),
  });
}

function partLines({ resource, seen, warning }: Part<SeenExchanges>): string[] {
  const what = seen.map(seenText).slice(0, NAMED_MAX).join(', ');
  const more = seen.length > NAMED_MAX ? ` and ${seen.length - NAMED_MAX} more` : '';
  const lines = [`${resource.text}: ${what}${more}`];
  return warning === null ? lines : [...lines, `  careful: ${warning}`];
}

const NAMED_MAX = 5;

function seenText({ host, port, request, sandbox, count, time }: SeenExchanges): string {
  const asked = request === null ? '' : `${request.method} `;
  const times = count === 1 ? 'once' : `${count} times`;
  const target = formatHostPort(host, port) + (request?.target ?? '');
  return `${asked}${target} (${sandbox}, ${times}, last ${time.slice(0, 16)}Z)`;
}

function jsonOf({ document, parts, refused, isWhole, omitted }: Found): unknown {
  const seenJson = (seen: SeenExchanges) => ({
    sandbox: seen.sandbox,
    target: formatHostPort(seen.host, seen.port),
    ...(seen.request && { method: seen.request.method, path: seen.request.target }),
    count: seen.count,
    last: seen.time,
  });
  return {
    mode: isWhole ? 'replace' : 'add',
    document: documentText(document),
    suggested: [...parts].map(([{ sandbox }, list]) => ({
      scope: sandbox === null ? 'global' : `sandbox:${sandbox}`,
      resources: list.map(({ resource, seen, warning }) => ({
        resource: resource.text,
        ...(warning && { warning }),
        seen: seen.map(seenJson),
      })),
    })),
    refused: refused.map(({ seen, why }) => ({ ...seenJson(seen), why })),
    omitted,
  };
}
