// `env`: prints what programs of a sandbox need in their environment. Nothing is started or changed,
// but for the token when that is asked for.
import { isAbsolute, posix } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Context, printJson, withDaemon } from './context.ts';
import {
  CONTAINER_HOST,
  type EnvironmentOptions,
  type FoundEnvironment,
  findEnvironment,
  TOKEN_VARIABLE,
} from './environment.ts';
import { envFileText, quoted, shellText } from './variables.ts';

type Options = Pick<EnvironmentOptions, 'sandbox' | 'rotate' | 'proxy' | 'caDir'> & {
  readonly json?: boolean;
  readonly docker?: boolean;
};

const CONTAINER_CA_DIR = '/etc/sallyport';

export function addEnvCommand(program: Command, context: Context): void {
  program
    .command('env')
    .description('print the variables that a sandbox needs: proxy, certificates, placeholders')
    .option('--sandbox <name>', "whose; without it, the daemon's default sandbox")
    .option('--rotate', 'give it a new token; the old one is refused from then on')
    .option('--proxy <url>', 'where it reaches the proxy, if not as this machine does', proxyUrl)
    .option('--ca-dir <folder>', 'where it finds the certificates, if not here', absolutePath)
    .addOption(
      new Option('--shell', 'lines for a POSIX shell; the default').conflicts(['json', 'docker']),
    )
    .addOption(new Option('--json', 'print JSON').conflicts(['docker']))
    .option('--docker', 'lines for docker run --env-file; says what else to give to docker run')
    .addHelpText(
      'after',
      `
The token of a sandbox is read from ${TOKEN_VARIABLE}. One that is known by its listener or its
source address needs none.

Examples:
  $ eval "$(sallyport env --sandbox dev --rotate)"
  $ sallyport env --sandbox ci --docker > ci.env
`,
    )
    .action((options: Options) => printEnvironment(context, options));
}

async function printEnvironment(context: Context, options: Options): Promise<void> {
  const { json, docker, caDir = docker ? CONTAINER_CA_DIR : undefined, ...rest } = options;
  await withDaemon(
    context,
    async (client) => {
      const wanted = { ...rest, caDir, container: docker };
      const found = await findEnvironment(context, client, wanted);
      if (json) return printJson(context, found.variables);
      if (!docker) return context.out(shellText(found.variables));
      context.out(envFileText(found.variables));
      context.err(dockerText(found, caDir ?? CONTAINER_CA_DIR));
    },
    'must-run',
  );
}

/** On the error stream, so that the output can go to a file. */
function dockerText({ proxy, trustFolder }: FoundEnvironment, caDir: string): string {
  const mount = `-v ${quoted(`${trustFolder}:${caDir}:ro`)}`;
  if (proxy.host !== CONTAINER_HOST) return `docker run --env-file FILE ${mount} IMAGE\n`;
  return `docker run --env-file FILE ${mount} --add-host ${CONTAINER_HOST}:host-gateway IMAGE
On Linux a proxy that listens on 127.0.0.1 is out of a container's reach; let it listen on the
address of Docker's bridge: daemon restart --listen 172.17.0.1:${proxy.port}
`;
}

/** @throws InvalidArgumentError */
function proxyUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const plain = url !== null && url.protocol === 'http:' && url.pathname === '/';
  if (plain && url.username === '' && url.search === '' && url.hash === '') return url;
  throw new InvalidArgumentError('Write it such as http://10.0.0.1:3128, without a token.');
}

/** @throws InvalidArgumentError */
function absolutePath(text: string): string {
  if (isAbsolute(text)) return posix.resolve(text);
  throw new InvalidArgumentError('Write an absolute path: programs have folders of their own.');
}
