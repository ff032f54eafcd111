// The services that are known by name: where their credential goes, in which field, what stands for
// it in the sandbox, and by which other ways a client could authenticate itself there.
import type {
  InjectionPolicy,
  Placement,
  Scrub,
  ServiceBinding,
  TokenEndpoint,
} from './binding.ts';
import type { OAuthClient } from './oauth.ts';

export type Service = {
  /** Variables of the host that a value is imported from, the first that is set. */
  readonly env: readonly string[];
  /** Where the credential goes. */
  readonly hosts: readonly string[];
  readonly placements: readonly Placement[];
  /** What the sandbox has in its variables instead. */
  readonly sandboxEnv: Readonly<Record<string, string>>;
  /** Every text that counts as the sentinel. */
  readonly sentinels: readonly string[];
  /** What it gets in place of tokens, if their form matters to clients. */
  readonly tokens?: TokenEndpoint['templates'];
  readonly authFields: readonly string[];
  readonly authQuery: readonly string[];
};

const SENTINEL = 'proxy-managed';
const GITHUB_SENTINEL = 'gho_sbxproxymanaged000000000000000000000'; // Tools check the form of a token.
const TOKENS = { access: 'proxy-managed-oat-{rand}', refresh: 'proxy-managed-ort-{rand}' };

const bearer: Placement = { field: 'authorization', format: 'Bearer %s' };

/** A service that takes a bearer token and nothing else. */
function bearerService(env: string, ...hosts: string[]): Service {
  return {
    env: [env],
    hosts,
    placements: [bearer],
    sandboxEnv: { [env]: SENTINEL },
    sentinels: [SENTINEL],
    authFields: ['authorization', 'x-api-key', 'api-key'],
    authQuery: ['api_key', 'key'],
  };
}

/** The names, hosts and fields are those of sbx, so that its kits and secrets mean the same here. */
export const SERVICES: Readonly<Record<string, Service>> = {
  anthropic: {
    ...bearerService(
      'ANTHROPIC_API_KEY',
      'api.anthropic.com',
      'console.anthropic.com',
      'claude.ai',
      'mcp-proxy.anthropic.com',
    ),
    placements: [{ field: 'x-api-key', format: '%s' }],
    sentinels: [SENTINEL, 'sk-ant-oat01-proxy-managed', 'sk-ant-ort01-proxy-managed'],
    tokens: {
      access: 'sk-ant-oat01-proxy-managed-{rand}',
      refresh: 'sk-ant-ort01-proxy-managed-{rand}',
    },
  },
  cursor: {
    ...bearerService(
      'CURSOR_API_KEY',
      'api2.cursor.sh',
      'api3.cursor.sh',
      'repo42.cursor.sh',
      'cursor.com',
    ),
    sentinels: [SENTINEL, 'cursor-oat-proxy-managed', 'cursor-ort-proxy-managed'],
    tokens: {
      access: 'cursor-oat-proxy-managed-{rand}',
      refresh: 'cursor-ort-proxy-managed-{rand}',
    },
  },
  droid: bearerService('FACTORY_API_KEY', 'api.factory.ai', 'app.factory.ai', 'relay.factory.ai'),
  github: {
    ...bearerService(
      'GH_TOKEN',
      'api.github.com',
      'github.com',
      'raw.githubusercontent.com',
      'gist.github.com',
      'copilot.github.com',
      'api.githubcopilot.com',
    ),
    env: ['GH_TOKEN', 'GITHUB_TOKEN'],
    // git over https knows Basic alone.
    placements: [
      {
        field: 'authorization',
        format: 'Basic %s',
        basicUsername: 'x-access-token',
        hosts: ['github.com', 'gist.github.com'],
      },
      bearer,
    ],
    sandboxEnv: { GH_TOKEN: GITHUB_SENTINEL, GITHUB_TOKEN: GITHUB_SENTINEL },
    sentinels: [SENTINEL, GITHUB_SENTINEL],
    tokens: { access: 'gho_sbxp{rand}', refresh: 'ghr_sbxp{rand}' }, // 36 letters behind the prefix.
    authQuery: ['access_token'],
  },
  google: {
    ...bearerService(
      'GEMINI_API_KEY',
      'generativelanguage.googleapis.com',
      'oauth2.googleapis.com',
      'aiplatform.googleapis.com',
      'vertexai.googleapis.com',
    ),
    env: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'],
    placements: [{ field: 'x-goog-api-key', format: '%s' }],
    sandboxEnv: { GEMINI_API_KEY: SENTINEL, GOOGLE_API_KEY: SENTINEL },
    authFields: ['authorization', 'x-goog-api-key', 'x-goog-iam-authorization-token'],
    authQuery: ['key', 'access_token', 'oauth_token'],
  },
  groq: bearerService('GROQ_API_KEY', 'api.groq.com'),
  mistral: bearerService('MISTRAL_API_KEY', 'api.mistral.ai'),
  nebius: bearerService('NEBIUS_API_KEY', 'api.studio.nebius.com', 'api.tokenfactory.nebius.com'),
  openai: {
    ...bearerService(
      'OPENAI_API_KEY',
      'api.openai.com',
      'openai.com',
      'chatgpt.com',
      'www.chatgpt.com',
    ),
    sentinels: [SENTINEL, 'oai-oat01-proxy-managed', 'oai-ort01-proxy-managed'],
    tokens: {
      access: 'oai-oat01-proxy-managed-{rand}',
      refresh: 'oai-ort01-proxy-managed-{rand}',
    },
  },
  openrouter: bearerService('OPENROUTER_API_KEY', 'openrouter.ai'),
  xai: bearerService('XAI_API_KEY', 'api.x.ai'),
};

export type ServiceSecret = {
  readonly id: string;
  /** GLOBAL_SCOPE or a sandbox's number. */
  readonly scope: number;
  readonly value: string;
  readonly policy: InjectionPolicy;
  readonly plaintext: boolean;
  readonly onDemand: boolean;
  readonly scrub: Scrub;
};

/** @param name  a key of SERVICES */
export function serviceBinding(name: string, given: ServiceSecret): ServiceBinding {
  const service = Object.hasOwn(SERVICES, name) ? SERVICES[name] : undefined;
  if (service === undefined) throw new TypeError(`no service is called ${name}`);
  const { hosts, placements, sentinels, authFields, authQuery } = service;
  return {
    ...given,
    kind: 'service',
    service: name,
    hosts,
    placements,
    sentinels,
    authFields,
    authQuery,
  };
}

export type Grant = {
  readonly client: Pick<OAuthClient, 'tokenUrl' | 'signInInside'>;
  /** See TokenEndpoint. */
  readonly signedOut: boolean;
  readonly placeholderKey: string;
};

/**
 * A service that takes the access tokens of a grant (RFC 6750 section 2.1).
 *
 * @param name   a key of SERVICES, or another.
 * @param hosts  where the tokens go.
 */
export function oauthBinding(
  name: string,
  hosts: readonly string[],
  { client: { tokenUrl, signInInside }, signedOut, placeholderKey }: Grant,
  given: ServiceSecret,
): ServiceBinding {
  const { hostname, port, pathname } = new URL(tokenUrl);
  const known = Object.hasOwn(SERVICES, name) ? SERVICES[name] : undefined;
  const service = known ?? bearerService('', ...hosts);
  // Basic with a token as the password is how some take it; a field for API keys is not.
  const takesTokens = service.placements.every(({ field }) => field === 'authorization');
  const { sentinels, authQuery } = service;
  return {
    ...given,
    kind: 'service',
    service: name,
    hosts,
    placements: takesTokens ? service.placements : [bearer],
    sentinels,
    authFields: [...new Set([...service.authFields, 'x-api-key', 'api-key'])],
    authQuery: [...new Set([...authQuery, 'access_token'])], // RFC 6750 section 2.3.
    tokenEndpoint: {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 443 : Number(port),
      path: pathname,
      signInInside,
      signedOut,
      templates: service.tokens ?? TOKENS,
      placeholderKey,
    },
  };
}
