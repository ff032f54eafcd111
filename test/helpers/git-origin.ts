// A git server of the tests: git's own http-backend, run as a CGI program (RFC 3875), for whoever
// authenticates.
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Handler } from './sandboxed.ts';

/** @returns git's folder of programs, or null when there is no git with an http-backend. */
export function gitBackend(): string | null {
  try {
    const folder = execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim();
    const program = join(folder, 'git-http-backend');
    execFileSync('test', ['-x', program]);
    return program;
  } catch {
    return null;
  }
}

/** Makes a bare repository that can be pushed to, with one commit that holds `hello.txt`. */
export function createRepository(root: string, name: string): void {
  const git = (...args: string[]): void => {
    const env = { PATH: process.env.PATH ?? '', HOME: root, GIT_CONFIG_GLOBAL: '/dev/null' };
    execFileSync('git', args, { cwd: root, env, stdio: 'pipe' });
  };
  git('init', '-q', '-b', 'main', '--bare', name);
  git('-C', name, 'config', 'http.receivepack', 'true');
  const blob = execFileSync('git', ['-C', name, 'hash-object', '-w', '--stdin'], {
    cwd: root,
    input: 'hello\n',
    encoding: 'utf8',
  }).trim();
  const entry = `100644 blob ${blob}\thello.txt\n`;
  const tree = execFileSync('git', ['-C', name, 'mktree'], { cwd: root, input: entry });
  const who = ['-c', 'user.name=t', '-c', 'user.email=t@t.example'];
  const words = ['-C', name, ...who, 'commit-tree', '-m', 'one', String(tree).trim()];
  const commit = execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();
  git('-C', name, 'update-ref', 'refs/heads/main', commit);
}

/** Serves the repositories in a folder to whoever sends a field `authorization` of Basic. */
export function gitHandler(program: string, root: string): Handler {
  return (request, response) => {
    const { authorization = '' } = request.headers;
    if (!authorization.startsWith('Basic ')) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' });
      response.end('who are you?');
      return;
    }
    const { pathname, search } = new URL(request.url, 'https://x');
    const env = {
      PATH: process.env.PATH ?? '',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      REQUEST_METHOD: request.method,
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    };
    const backend = spawn(program, { env, stdio: ['pipe', 'pipe', 'ignore'] });
    backend.stdin.on('error', () => {}); // It may not want the content.
    request.pipe(backend.stdin);
    const pieces: Buffer[] = [];
    backend.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    backend.on('close', () => {
      const output = Buffer.concat(pieces);
      const end = output.indexOf('\r\n\r\n');
      const lines = output.subarray(0, end).toString('latin1').split('\r\n');
      const fields = lines.map((line): [string, string] => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      });
      const status = fields.find(([name]) => name === 'status')?.[1] ?? '200';
      const kept = fields.filter(([name]) => name !== 'status');
      response.writeHead(Number.parseInt(status, 10), Object.fromEntries(kept));
      response.end(output.subarray(end + 4));
    });
  };
}
