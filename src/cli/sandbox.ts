// `sandbox add|ls|phase|rm|token`: who may use the proxy, and the address they use it by.
import { resolve } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { SandboxIssue, SandboxListing } from '../control/api/schemas.ts';
import { KIT_PHASES } from '../policy/kit.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { kitOf } from './kit.ts';
import { table } from './render.ts';
import { eachOf } from './values.ts';

type AddOptions = {
  listen?: string;
  unix?: string;
  sourceAddress?: string;
  deny?: string;
  kit?: string[];
  phase?: string;
  json?: boolean;
};

export function addSandboxCommands(program: Command, context: Context): void {
  const sandbox = program
    .command('sandbox')
    .description('register the sandboxes that use the proxy');
  addRegistration(sandbox, context);
  sandbox
    .command('ls')
    .alias('list')
    .description('list the sandboxes')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) => list(context, options.json === true));
  sandbox
    .command('phase')
    .argument('<name>')
    .addArgument(new Argument('[phase]', 'to go into it').choices([...KIT_PHASES]))
    .description('tell which rules of its kit hold, or have those of another phase hold')
    .option('--json', 'print JSON')
    .addHelpText('after', PHASES)
    .action((name: string, to: string | undefined, { json }: { json?: boolean }) =>
      phase(context, name, to, json === true),
    );
  sandbox
    .command('rm')
    .argument('<name>')
    .description('remove a sandbox, its rules and its secrets; its token is refused from then on')
    .option('--json', 'print JSON')
    .action((name: string, { json }: { json?: boolean }) =>
      withDaemon(context, async (client) => {
        await client.delete(`/sandbox/${encodeURIComponent(name)}`);
        if (json) printJson(context, { removed: name });
        else context.out(`Sandbox ${name} removed\n`);
      }),
    );
  sandbox
    .command('token')
    .argument('<name>')
    .description('give a sandbox a new token; the old one is refused from then on')
    .option('--rotate', 'say that the old token may be lost')
    .option('--json', 'print JSON')
    .action((name: string, options: { rotate?: boolean; json?: boolean }) =>
      rotate(context, name, options),
    );
}

function addRegistration(sandbox: Command, context: Context): void {
  sandbox
    .command('add')
    .argument('<name>', 'letters, digits and hyphens')
    .description('register a sandbox and print its proxy URL with the token, once')
    .option('--listen <host:port>', 'a listener of its own, on which no token is asked')
    .option('--unix <path>', 'a unix socket of its own, likewise')
    .option('--source-address <ip>', 'recognise it by where it connects from')
    .addOption(
      new Option(
        '--deny <where>',
        'tell refused CONNECTs by status, or inside TLS, which it must trust the CA for',
      ).choices(['connect', 'inside']),
    )
    .option('--kit <file>', 'the kit whose network rules it comes with (repeatable)', eachOf)
    .addOption(
      new Option('--phase <phase>', 'of its kit; default: runtime').choices([...KIT_PHASES]),
    )
    .option('--json', 'print JSON')
    .action((name: string, options: AddOptions) => add(context, name, options));
}

const PHASES = `
install is for setting a sandbox up, runtime for its agent. What the sandbox has open ends with the
change, so that nothing of one phase is left in the other.
`;

async function add(context: Context, name: string, options: AddOptions): Promise<void> {
  const kit = await kitOf(context, options.kit ?? []);
  await withDaemon(context, async (client) => {
    const issued = await client.post<SandboxIssue>('/sandbox', {
      name,
      ...(options.listen !== undefined && { listen: options.listen }),
      ...(options.unix !== undefined && { unix: resolve(options.unix) }),
      ...(options.sourceAddress !== undefined && { source_address: options.sourceAddress }),
      ...(options.deny !== undefined && { deny: options.deny }),
      ...(options.phase !== undefined && { phase: options.phase }),
      ...(kit !== null && { kit }),
    });
    if (options.json) printJson(context, issued);
    else context.out(issuedText(context, issued));
  });
}

async function phase(
  context: Context,
  name: string,
  to: string | undefined,
  json: boolean,
): Promise<void> {
  await withDaemon(context, async (client) => {
    const path = `/sandbox/${encodeURIComponent(name)}`;
    const sandbox =
      to === undefined
        ? await client.get<SandboxListing>(path)
        : await client.post<SandboxListing>(`${path}/phase`, { phase: to });
    if (json) return printJson(context, sandbox);
    const told = to === undefined ? sandbox.phase : `Sandbox ${name} is in phase ${sandbox.phase}`;
    context.out(`${told}\n`);
  });
}

async function rotate(
  context: Context,
  name: string,
  { rotate: sure, json }: { rotate?: boolean; json?: boolean },
): Promise<void> {
  if (!sure) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      'only the hash of a token is kept; --rotate makes a new one',
    );
  }
  await withDaemon(context, async (client) => {
    const issued = await client.post<SandboxIssue>(`/sandbox/${encodeURIComponent(name)}/token`);
    if (json) printJson(context, issued);
    else context.out(issuedText(context, issued));
  });
}

function issuedText({ program }: Context, { name, proxy_url }: SandboxIssue): string {
  return `Sandbox ${name}. Its proxy URL carries the token and is shown this once:

  ${proxy_url}

In the sandbox:
  export http_proxy=${proxy_url} https_proxy=$http_proxy HTTP_PROXY=$http_proxy HTTPS_PROXY=$http_proxy

${program} env --sandbox ${name} prints all that it needs; give it the token as SALLYPORT_TOKEN.
`;
}

async function list(context: Context, json: boolean): Promise<void> {
  await withDaemon(context, async (client) => {
    const answer = await client.get<{ sandboxes: SandboxListing[] }>('/sandbox');
    if (json) return printJson(context, answer);
    if (answer.sandboxes.length === 0) return context.out('No sandboxes are registered\n');
    const rows = answer.sandboxes.map((one) => [
      one.name,
      one.listen ?? '-',
      one.source_address ?? '-',
      one.kit ?? '-',
      one.kit === null ? '-' : one.phase,
      one.created_at,
    ]);
    context.out(table(['NAME', 'LISTEN', 'SOURCE ADDRESS', 'KIT', 'PHASE', 'CREATED'], rows));
  });
}
