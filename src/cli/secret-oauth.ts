// `secret set-oauth`: gives the daemon a grant. It asks the token endpoint for access tokens itself,
// so that no sandbox holds the grant or a token.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { SecretSetAnswer } from '../control/api/schemas-secret.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { askSecret } from './prompt.ts';
import { sayStored, store } from './secret-put.ts';
import { type ScopeOptions, scopeOf, withScope } from './secret-scope.ts';
import { policyOption } from './secret-value.ts';
import { eachOf } from './values.ts';

type OAuthOptions = ScopeOptions & {
  readonly tokenUrl: string;
  readonly clientId?: string;
  readonly signInInside?: boolean;
  readonly clientSecret?: boolean;
  readonly clientAuth?: string;
  readonly clientCredentials?: boolean;
  readonly scope?: string;
  readonly host?: string[];
  readonly policy?: string;
  readonly verify: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
};

type Tokens = { readonly refresh_token?: string; readonly client_secret?: string };

export function addOAuthCommand(secret: Command, context: Context): void {
  withScope(secret.command('set-oauth'))
    .description('store a grant whose access tokens the proxy gets, renews and adds to requests')
    .argument('<name>', 'a service, or a name of your own')
    .requiredOption('--token-url <url>', 'the token endpoint')
    .option('--client-id <id>', 'the client that the grant was given to')
    .option('--host <hosts>', 'where the tokens go; default: the hosts of the service', eachOf)
    .option('--client-secret', 'the client has a secret: asked for, or the last line of stdin')
    .addOption(
      new Option('--client-auth <how>', 'how it is sent; default: basic').choices([
        'basic',
        'post',
      ]),
    )
    .option('--client-credentials', 'the client asks in its own name, without a refresh token')
    .option('--sign-in-inside', 'no grant: sandboxes sign in, and their tokens are kept here')
    .option('--scope <words>', 'asked for; default: what was granted')
    .addOption(policyOption())
    .option('--no-verify', 'do not ask the token endpoint now')
    .option('-f, --force', 'replace one that is there, without a question')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action((name: string, options: OAuthOptions) => setOAuth(context, name, options));
}

const EXAMPLES = `
The refresh token is typed unseen, or piped in as the first line.

Examples:
  $ sbx secret set-oauth openai --token-url https://auth.openai.com/oauth/token --client-id app_1
  $ sbx secret set-oauth crm --host api.crm.example --token-url https://crm.example/token \\
      --client-id 7 --client-secret < refresh-token-and-client-secret.txt
`;

async function setOAuth(context: Context, name: string, options: OAuthOptions): Promise<void> {
  const { sandbox } = scopeOf(context, [], options);
  const { tokenUrl, clientId, clientAuth, scope, host: hosts, policy, verify } = options;
  await withDaemon(context, async (client) => {
    const body = {
      ...(await readTokens(context, name, options)),
      name,
      token_url: tokenUrl,
      client_id: clientId,
      client_auth: clientAuth,
      sign_in_inside: options.signInInside,
      scope,
      hosts,
      policy,
      sandbox,
      verify,
    };
    const answer = await store<SecretSetAnswer>(context, client, '/secrets/oauth', body, options);
    if (answer === null) return;
    if (options.json) return printJson(context, answer);
    sayStored(context, answer, `oauth "${name}" to ${answer.secret.targets?.join(', ')}`);
  });
}

/** @throws SALLYPORT_USAGE for other lines on stdin than are needed */
async function readTokens(
  context: Context,
  name: string,
  { clientSecret, clientCredentials, signInInside }: OAuthOptions,
): Promise<Tokens> {
  if (signInInside) return {};
  const wanted = [
    ...(clientCredentials ? [] : (['refresh_token'] as const)),
    ...(clientSecret || clientCredentials ? (['client_secret'] as const) : []),
  ];
  const { terminal, stdin } = context;
  const values: string[] = [];
  if (terminal !== null) {
    for (const what of wanted) {
      values.push(await askSecret(`${QUESTIONS[what]} for "${name}":`, terminal));
    }
  } else if (stdin !== null) {
    values.push(...(await stdin()).replace(/\r?\n$/, '').split(/\r?\n/));
  }
  if (values.length !== wanted.length || values.includes('')) {
    const lines = wanted.map((what) => QUESTIONS[what].toLowerCase()).join(', then the ');
    throw new SallyportError('SALLYPORT_USAGE', `pipe in one line each: the ${lines}`);
  }
  return Object.fromEntries(wanted.map((what, i) => [what, values[i]]));
}

const QUESTIONS = { refresh_token: 'Refresh token', client_secret: 'Client secret' } as const;
