// `policy diff`: what changes from one policy to another, each with a request that shows it.
import { type Command, Option } from 'commander';
import { documentRules, ScopeTable } from '../documents/document.ts';
import { offlineMatcher } from '../matcher/offline.ts';
import { type Change, differences } from '../policy/difference.ts';
import { methodNames } from '../policy/http.ts';
import type { AddressGuard } from '../policy/judge.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { requestWords } from '../policy/remedy.ts';
import { formatHostPort } from '../policy/resource.ts';
import { GLOBAL_SCOPE, type Rule } from '../policy/rule.ts';
import type { Witness } from '../policy/witness.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { fileRules, runningDocument } from './policy-source.ts';
import { ensureInitialized } from './setup.ts';

type Options = { readonly addressGuard: AddressGuard; readonly json?: boolean };

export function addDiffCommand(policy: Command, context: Context): void {
  policy
    .command('diff')
    .description('say what changes from one policy to another, each with a request that shows it')
    .argument('<a>', 'a policy file, - for stdin; alone, what would replace the policy in force')
    .argument('[b]', 'the policy file to compare it with')
    .addOption(addressGuardOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit code 0: the policies say the same, 1: something changes, 2: error.
A change without a request has none that was found: other rules may decide the same.
Network rules only; \`policy apply --dry-run\` tells of filesystem rules, too.
`,
    )
    .action((a: string, b: string | undefined, options: Options) => diff(context, a, b, options));
}

/** As the daemon was started, for those who did not start it plainly. */
export function addressGuardOption(): Option {
  return new Option('--address-guard <guard>', 'as for daemon start')
    .choices(['strict', 'docker'])
    .default('strict');
}

async function diff(
  context: Context,
  a: string,
  b: string | undefined,
  { addressGuard, json }: Options,
): Promise<void> {
  const scopes = new ScopeTable();
  const second = await fileRules(context, b ?? a, scopes);
  const first =
    b === undefined ? await running(context, scopes) : await fileRules(context, a, scopes);
  const changes = differences(await judgedBy(first), await judgedBy(second), addressGuard);
  if (json) printJson(context, { changes: changes.map((change) => jsonOf(change, scopes)) });
  else context.out(textOf(changes, scopes));
  context.exitWith(changes.length > 0 ? 1 : 0);
}

async function judgedBy(rules: readonly Rule[]) {
  return { rules, matcher: await offlineMatcher(rules) };
}

/** Local policy alone: a file holds nothing else. */
function running(context: Context, scopes: ScopeTable): Promise<readonly Rule[]> {
  return withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    return documentRules(await runningDocument(client), scopes);
  });
}

function textOf(changes: readonly Change[], scopes: ScopeTable): string {
  if (changes.length === 0) return 'No network rules differ.\n';
  const without = changes.filter(({ witness }) => witness === null).length;
  const more = without === 0 ? '' : `; for ${without} no request was found that shows it`;
  const lines = changes.flatMap(({ op, statement, witness }) => [
    `${op === 'add' ? '+' : '-'} ${statementText(statement, scopes)}`,
    `    ${witness === null ? 'no request was found that it decides otherwise' : witnessText(witness, scopes)}`,
  ]);
  return `${lines.join('\n')}\n${changes.length} changes${more}\n`;
}

function statementText(
  { id, scope, decision, resources, protocols, http }: Rule,
  scopes: ScopeTable,
): string {
  const what = [decision, resources[0]?.text, ...requestWords(http)].join(' ');
  const transport = http === undefined ? ` [${protocols.join(',')}]` : '';
  return `${what}${transport} (${scopeText(scope, scopes)}, rule ${ruleLabel(id)})`;
}

function witnessText(witness: Witness, scopes: ScopeTable): string {
  const { scope, protocol, host, port, request, address, before, after } = witness;
  const words = [
    ...(request === null ? [] : [request.method]),
    formatHostPort(host, port) + (request?.target ?? ''),
    ...(protocol === 'udp' ? ['over udp'] : []),
    ...(address === null ? [] : [`leading to ${address}`]),
    ...(scope === GLOBAL_SCOPE ? [] : [`from ${scopes.nameOf(scope)}`]),
  ];
  return `${words.join(' ')}: ${verdictText(before)} -> ${verdictText(after)}`;
}

function verdictText(verdict: 'allow' | 'deny'): string {
  return verdict === 'allow' ? 'allowed' : 'denied';
}

function scopeText(scope: number, scopes: ScopeTable): string {
  return scope === GLOBAL_SCOPE ? 'global' : `sandbox:${scopes.nameOf(scope)}`;
}

function jsonOf({ op, statement, witness }: Change, scopes: ScopeTable): unknown {
  const { id, scope, decision, resources, protocols, http } = statement;
  return {
    op,
    rule: ruleLabel(id),
    scope: scopeText(scope, scopes),
    decision,
    resource: resources[0]?.text,
    protocols,
    ...(http && { methods: methodNames(http), paths: http.paths }),
    witness: witness && witnessJson(witness, scopes),
  };
}

function witnessJson(witness: Witness, scopes: ScopeTable): unknown {
  const { scope, protocol, host, port, request, address, before, after } = witness;
  return {
    ...(scope !== GLOBAL_SCOPE && { sandbox: scopes.nameOf(scope) }),
    protocol,
    target: formatHostPort(host, port),
    ...(request && { method: request.method, path: request.target }),
    ...(address && { address }),
    before,
    after,
  };
}
