// Between a refusal and the client: what no rule covers may be put before a person, through the daemon,
// and is decided again when somebody said yes. A deny is never put before anybody.
import { SallyportError } from '../base/errors.ts';
import { grantOnce } from '../policy/grant.ts';
import { formatHostPort } from '../policy/resource.ts';
import { type Deciders, decide, type Permit } from './decide.ts';
import type { Approval, Client, ProxySettings, Sandbox, Target } from './exchange.ts';
import type { Entry } from './record.ts';

export type ApprovalRequest = {
  readonly sandbox: string;
  readonly host: string;
  readonly port: number;
  /** Whether it may be held until somebody answers. */
  readonly wait: boolean;
};

/** Asks the daemon. Rejects when the worker drains. @param signal  the client has left. */
export type Approve = (request: ApprovalRequest, signal: AbortSignal) => Promise<Approval>;

type Services = Deciders & {
  readonly current: { readonly settings: Pick<ProxySettings, 'approvals'> };
  readonly approve: Approve;
};

/**
 * Decides as decide() does, and asks where that may help.
 *
 * @throws what decide() throws, SALLYPORT_APPROVAL_REQUIRED when nobody has said yes,
 *   SALLYPORT_DRAINING
 */
export function decideOrAsk(
  client: Client,
  sandbox: Sandbox,
  target: Target,
  entry: Entry,
  services: Services,
): Permit | Promise<Permit | null> | null {
  try {
    const once = client.inside?.approval === 'once';
    return decide(sandbox, target, entry, once ? granted(sandbox, target, services) : services);
  } catch (error) {
    const { approvals } = services.current.settings;
    if (!approvals || !entry.uncovered || !isDenial(error)) throw error;
    return ask(error, client, sandbox, target, entry, services);
  }
}

async function ask(
  denial: SallyportError,
  client: Client,
  sandbox: Sandbox,
  target: Target,
  entry: Entry,
  services: Services,
): Promise<Permit | null> {
  const { host, port } = target;
  // A tunnel that was let in to be refused has been asked for already.
  const wait = client.inside?.approval !== 'refused';
  const request = { sandbox: sandbox.name, host, port, wait };
  const approval = await whileThere(client, (signal) => services.approve(request, signal));
  entry.approval = approval;
  if (approval === 'off') throw denial;
  if (approval === 'refused') throw required(target);
  if (approval === 'once')
    return decide(sandbox, target, entry, granted(sandbox, target, services));
  try {
    return await decide(sandbox, target, entry, services);
  } catch (error) {
    // The rule has gone again, or something denies it since.
    throw entry.uncovered && isDenial(error) ? required(target) : error;
  }
}

/** Nobody is kept waiting for a client that sends no more or has left. */
async function whileThere<T>(
  client: Client,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const left = new AbortController();
  const leave = (): void => left.abort();
  client.onGone = leave;
  client.onEnded = leave;
  try {
    return await work(left.signal);
  } finally {
    client.onGone = null;
    client.onEnded = null;
  }
}

function granted<D extends Deciders>({ scope }: Sandbox, { host, port }: Target, deciders: D): D {
  const matcher = grantOnce(deciders.matcher, { scope, host, port, protocol: 'tcp' });
  return { ...deciders, matcher };
}

function isDenial(error: unknown): error is SallyportError {
  return error instanceof SallyportError && error.code === 'SALLYPORT_DENIED';
}

function required({ host, port }: Target): SallyportError {
  return new SallyportError(
    'SALLYPORT_APPROVAL_REQUIRED',
    `Approval required for ${formatHostPort(host, port)}`,
  );
}
