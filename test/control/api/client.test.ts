import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { ControlClient } from '../../../src/control/api/client.ts';
import { startWorld, temporaryFolder } from '../../helpers/control.ts';

async function serverAt(
  path: string,
  handler: Parameters<typeof createServer>[1],
): Promise<Server> {
  const server = createServer(handler).listen(path);
  await once(server, 'listening');
  return server;
}

t.test('says that no daemon is there', async (t) => {
  const client = new ControlClient(join(temporaryFolder(t), 'nothing.sock'));
  t.teardown(() => client.close());
  await t.rejects(client.get('/daemon/health'), {
    code: 'SALLYPORT_DAEMON_UNREACHABLE',
    message: /no daemon listens on .*nothing\.sock/,
  });
});

t.test("typed answers, and the daemon's errors as its own", async (t) => {
  const { client } = await startWorld(t);
  t.match(await client.get('/policy/network/rules', { type: 'all', sandbox: undefined }), {
    rules: [],
  });
  await t.rejects(client.delete('/policy/network/rules', { id: 'x' }), {
    code: 'SALLYPORT_NOT_FOUND',
    message: 'rule "x" not found',
  });
  await t.rejects(client.post('/policy/network/rules', { decision: 'allow', resources: '*' }), {
    code: 'SALLYPORT_POLICY_INVALID',
  });
});

t.test('many calls at one time', async (t) => {
  const { client } = await startWorld(t);
  const names = Array.from({ length: 40 }, (_, i) => `h${i}.test`);
  await Promise.all(
    names.map((resources) =>
      client.post('/policy/network/rules', { decision: 'allow', resources }),
    ),
  );
  const { rules } = await client.get<{ rules: { id: string }[] }>('/policy/network/rules');
  t.equal(rules.length, 41);
});

t.test('answers that are not ours, and connections that end', async (t) => {
  const path = join(temporaryFolder(t), 'odd.sock');
  const server = await serverAt(path, (request, response) => {
    if (request.url === '/text') response.end('hello');
    else if (request.url === '/later') response.writeHead(418).end('{"code":"SALLYPORT_OF_LATER"}');
    else if (request.url === '/lines') {
      response.write('\n{"a":1}\n{"a"');
      response.write(':2}\n');
      response.end('{"message":"cut","code":"SALLYPORT_OVERLOADED"}\n');
    } else request.socket.destroy();
  });
  const client = new ControlClient(path);
  t.teardown(async () => {
    await client.close();
    server.close();
  });
  await t.rejects(client.get('/text'), { code: 'SALLYPORT_INTERNAL', message: /no JSON/ });
  await t.rejects(client.get('/later'), { code: 'SALLYPORT_INTERNAL', message: /418/ });
  await t.rejects(client.get('/gone'), {
    code: 'SALLYPORT_DAEMON_UNREACHABLE',
    message: /ended the connection/,
  });
  const seen: unknown[] = [];
  const reading = (async () => {
    for await (const line of client.lines('/lines')) seen.push(line);
  })();
  await t.rejects(reading, { code: 'SALLYPORT_OVERLOADED', message: 'cut' });
  t.strictSame(seen, [{ a: 1 }, { a: 2 }]);
});
