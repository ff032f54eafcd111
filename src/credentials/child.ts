// Runs a program to its end, within bounds of time and output. What it says on stderr is not read:
// programs that give out secrets say them there, too.
import { type ChildProcess, spawn } from 'node:child_process';

export type Program = {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Absent: that of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Written to its stdin; absent: that is empty. */
  readonly input?: string | undefined;
  readonly timeoutMs: number;
  /** Of what it may write on stdout. */
  readonly bytesMax: number;
  /** Ends it before its time. */
  readonly signal?: AbortSignal | undefined;
};

/** Why a program gave nothing; the message goes on after its name: "ended with 1". */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
  /** The exit code, null when it did not come so far. */
  readonly exitCode: number | null;

  constructor(message: string, exitCode: number | null = null) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * Runs a program.
 *
 * @returns what it wrote on stdout, once it has ended with 0.
 * @throws ProgramError
 */
export function outputOfProgram(program: Program): Promise<string> {
  const { command, args, cwd, env, input } = program;
  const child = spawn(command, args, {
    cwd,
    ...(env !== undefined && { env: { ...env } }),
    detached: true, // A process group: what it has started ends with it.
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'ignore'],
  });
  child.stdin?.on('error', () => {}); // It may end without reading.
  child.stdin?.end(input);
  return untilEnd(child, program);
}

function untilEnd(child: ChildProcess, program: Program): Promise<string> {
  const { timeoutMs, bytesMax, signal } = program;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const giveUp = (why: string): void => {
    reject(new ProgramError(why));
    kill(child);
  };
  const onAbort = (): void => giveUp('was stopped');
  const timer = setTimeout(() => giveUp(`took more than ${timeoutMs} ms`), timeoutMs);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort);
  const pieces: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (piece: Buffer) => {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > bytesMax) giveUp(`wrote more than ${bytesMax} bytes`);
  });
  child.on('error', () => reject(new ProgramError('could not be started')));
  child.on('close', (code, how) => {
    if (code === 0) resolve(Buffer.concat(pieces).toString());
    else reject(new ProgramError(`ended with ${code ?? how}`, code));
  });
  return promise.finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  });
}

function kill(child: ChildProcess): void {
  child.stdout?.destroy(); // One that left the group may hold it open for ever.
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}
