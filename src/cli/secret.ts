// `secret set` and `secret set-custom`: gives the daemon a credential to put into requests, so that
// no sandbox holds it. A value is read and sent, and printed by nothing here.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { CustomSetAnswer, SecretSetAnswer } from '../control/api/schemas-secret.ts';
import { SERVICES } from '../credentials/services.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { askChoice } from './prompt.ts';
import { addImportCommand } from './secret-import.ts';
import { addListCommand } from './secret-ls.ts';
import { addOAuthCommand } from './secret-oauth.ts';
import { sayStored, store } from './secret-put.ts';
import { addRemoveCommand } from './secret-rm.ts';
import { type ScopeOptions, scopeOf, withScope } from './secret-scope.ts';
import {
  checkSource,
  policyOption,
  readValue,
  type ValueOptions,
  withValue,
} from './secret-value.ts';
import { eachOf, placeList } from './values.ts';

type Common = ScopeOptions & ValueOptions & { readonly force?: boolean; readonly json?: boolean };
type SetOptions = Common & {
  readonly policy?: string;
  readonly allowPlaintext?: boolean;
  readonly scrub?: string;
  readonly registry?: string;
  readonly username?: string;
  readonly registryAuthEndpoint?: string;
  readonly allSandboxes?: boolean;
};
type CustomOptions = Common & {
  readonly host: string[];
  readonly env: string;
  readonly placeholder?: string;
  readonly in?: string[];
  readonly allowPlaintext?: boolean;
  readonly scrub?: string;
};

export function addSecretCommands(program: Command, context: Context): void {
  const secret = program
    .command('secret')
    .description('credentials that the proxy adds to requests, so that no sandbox holds them');
  withScope(withValue(secret.command('set')))
    .description('store the credential of a service or a registry; typed unseen, or piped in')
    .argument('[service...]', Object.keys(SERVICES).join(', '))
    .addOption(policyOption())
    .option('--allow-plaintext', 'over plain HTTP, too')
    .addOption(scrubOption())
    .option(
      '--registry <host>',
      'the login of a container registry; only kept unless it is for sandboxes',
    )
    .option('--username <name>', 'with --registry')
    .option('--password-stdin', 'with --registry: read the password from stdin')
    .option(
      '--registry-auth-endpoint <url>',
      'the one exact URL that may have it for a bearer token',
    )
    .option('--all-sandboxes', 'with --registry: for all sandboxes, too')
    .option('-f, --force', 'replace one that is there, without a question')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action((words: string[], options: SetOptions) => set(context, words, options));
  withScope(withValue(secret.command('set-custom')))
    .description('store a secret that takes the place of its placeholder, in requests to its hosts')
    .requiredOption('--host <hosts>', 'where it goes; comma list, wildcards as in rules', eachOf)
    .requiredOption('--env <name>', 'the variable that the sandbox knows it by')
    .option('--value <value>', 'as --token')
    .option('--placeholder <text>', 'what the sandbox holds; {rand} differs by sandbox')
    .option('--in <places>', 'fields, query, content; default: fields,query', placeList)
    .option('--allow-plaintext', 'over plain HTTP, too')
    .addOption(scrubOption())
    .option('-f, --force', 'replace one that is there, without a question')
    .option('--json', 'print JSON')
    .action((options: CustomOptions) => setCustom(context, options));
  addOAuthCommand(secret, context);
  addListCommand(secret, context);
  addRemoveCommand(secret, context);
  addImportCommand(secret, context);
}

function scrubOption(): Option {
  const what = 'mask it in answers; one that cannot be searched: pass it on, or refuse it (strict)';
  return new Option('--scrub <how>', `${what}; default: off`).choices(['off', 'pass', 'strict']);
}

const EXAMPLES = `
Examples:
  $ sbx secret set github                                    asks for it, without showing it
  $ gh auth token | sbx secret set github --force
  $ sbx secret set openai --command "op read op://dev/openai/key" --refresh 10m
  $ sbx secret set --registry ghcr.io --username me --password-stdin < token.txt
`;

async function set(context: Context, words: string[], options: SetOptions): Promise<void> {
  const { service, sandbox } = scopeOf(context, words, options);
  const { registry } = options;
  checkSource(context, options);
  if (service !== undefined && registry !== undefined) {
    throw usage('a service and --registry exclude each other');
  }
  if (service !== undefined && !Object.hasOwn(SERVICES, service)) throw unknownService(service);
  await withDaemon(context, async (client) => {
    const name = registry ?? service ?? (await chosenService(context));
    const what = `${registry === undefined ? 'service' : 'registry'} "${name}"`;
    const body = {
      ...(await readValue(context, options, `Secret for ${what}:`)),
      ...(registry === undefined ? { service: name } : { registry }),
      sandbox,
      policy: options.policy,
      allow_plaintext: options.allowPlaintext,
      scrub: options.scrub,
      username: options.username,
      auth_endpoint: options.registryAuthEndpoint,
      all_sandboxes: options.allSandboxes,
    };
    const answer = await store<SecretSetAnswer>(context, client, '/secrets', body, options);
    if (answer === null) return;
    if (options.json) printJson(context, answer);
    else sayStored(context, answer, what);
  });
}

async function setCustom(context: Context, options: CustomOptions): Promise<void> {
  const { sandbox } = scopeOf(context, [], options);
  const { host: hosts, env, placeholder, in: places, allowPlaintext, scrub } = options;
  checkSource(context, options);
  await withDaemon(context, async (client) => {
    const body = {
      ...(await readValue(context, options, `Secret for ${env}:`)),
      hosts,
      env,
      placeholder,
      in: places,
      sandbox,
      allow_plaintext: allowPlaintext,
      scrub,
    };
    const answer = await store<CustomSetAnswer>(context, client, '/secrets/custom', body, options);
    if (answer === null) return;
    if (options.json) return printJson(context, answer);
    sayStored(context, answer, `${env} to ${answer.secret.targets.join(', ')}`);
    const who = sandbox === undefined ? 'Each sandbox' : `Sandbox ${sandbox}`;
    const own = answer.secret.placeholder.includes('{rand}') ? ', with a {rand} of its own' : '';
    context.out(`${who} holds ${env}=${answer.secret.placeholder} in its place${own}\n`);
  });
}

/** @throws SALLYPORT_USAGE when nobody can be asked */
function chosenService({ terminal }: Context): Promise<string> {
  const names = Object.keys(SERVICES);
  if (terminal !== null) return askChoice('Service:', names, terminal);
  throw usage(`name a service (${names.join(', ')}) or --registry HOST`);
}

/** Said before anybody is asked for its credential. */
function unknownService(service: string): SallyportError {
  const names = Object.keys(SERVICES).join(', ');
  return usage(
    `there is no service "${service}", only ${names}; for another use secret set-custom`,
  );
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
