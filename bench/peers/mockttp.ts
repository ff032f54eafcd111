// mockttp, the interception of HTTP Toolkit, in a process of its own. It brings 190 packages, so it is no
// dependency: `npm install --prefix FOLDER mockttp` and MOCKTTP_FOLDER=FOLDER let it take part.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { accepting, firstLine, start, stop } from '../process.ts';
import { freePort, type TlsPeer } from './peer.ts';

const PROGRAM = `
const [module, port, authority] = process.argv.slice(1);
const { generateCACertificate, getLocal } = require(module);
(async () => {
  const server = getLocal({ https: await generateCACertificate(), recordTraffic: false });
  await server.forAnyRequest().thenPassThrough({ additionalTrustedCAs: [{ cert: authority }] });
  await server.start(Number(port));
  process.stdout.write('{}\\n');
})();
`;

function found(): string | null {
  try {
    return createRequire(join(process.env.MOCKTTP_FOLDER ?? '', 'from-here.js')).resolve('mockttp');
  } catch {
    return null;
  }
}

export const mockttp: TlsPeer = {
  name: 'mockttp',
  http2: true,
  missing: () =>
    found() === null ? 'npm install --prefix FOLDER mockttp; MOCKTTP_FOLDER=FOLDER' : null,
  start: async (_folder, { authorityFile }) => {
    const port = await freePort();
    const words = [found() ?? '', String(port), readFileSync(authorityFile, 'utf8')];
    const child = start(process.execPath, ['-e', PROGRAM, ...words]);
    await firstLine(child);
    await accepting(port, child);
    return { port, pid: child.pid ?? 0, stop: () => stop(child) };
  },
};
