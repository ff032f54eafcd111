// Processes of the bench: started, waited for, measured by the kernel's own accounting, and ended
// with the bench whichever way it ends.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

/** Starts a child that dies with the bench at the latest. */
export function start(
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const late = await Promise.race([
    exited.then(() => false),
    setTimeout(5_000, true, { ref: false }),
  ]);
  if (late) child.kill('SIGKILL');
  await exited;
}

/** The first line a child prints, as JSON. */
export async function firstLine<T>(child: ChildProcess): Promise<T> {
  if (child.stdout === null) throw new Error('the child has no output to read');
  const lines = createInterface(child.stdout);
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a child ended early: ${code}`))),
  ]);
  return JSON.parse(line);
}

/** Resolves when something accepts connections there. */
export async function accepting(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null)
      throw new Error(`${child.spawnfile} ended early: ${child.exitCode}`);
    if (await accepts(port)) return;
    await setTimeout(50);
  }
  throw new Error(`nothing accepts on port ${port}`);
}

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

const TICK_US = 10_000; // USER_HZ is 100 on every Linux that matters here.

/** CPU of a process and its children so far, user and system, microseconds. */
export function cpuUs(pid: number): number {
  return family(pid).reduce((sum, one) => sum + cpuOf(one), 0);
}

function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  } catch {
    return 0; // It has ended meanwhile.
  }
}

/** Kilobytes: the peak of the largest process (VmHWM), or what is resident now (VmRSS). */
export function memoryKb(pid: number, field: 'VmHWM' | 'VmRSS'): number {
  return Math.max(
    ...family(pid).map((one) => {
      try {
        const status = readFileSync(`/proc/${one}/status`, 'latin1');
        return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
      } catch {
        return 0;
      }
    }),
  );
}

/** The process and its descendants. */
function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {} // It has ended meanwhile.
  }
  const found = [pid];
  for (const one of found)
    for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found;
}

/** Where a program is, or null. */
export function which(program: string): string | null {
  try {
    const found = execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`], {
      encoding: 'utf8',
    });
    return found.trim();
  } catch {
    return null;
  }
}
