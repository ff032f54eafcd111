// Requests that go no further than the door, because they could not be recorded; those whose head
// cannot be read are in accept.test.ts, too.
import tap from 'tap';
import { SLOT_WAIT_MS_MAX } from '../../src/base/limits.ts';
import { startProxy } from '../helpers/proxy.ts';
import { wire } from '../helpers/wire.ts';

tap.test('while the audit cannot be written every kind of request is refused', async (t) => {
  const proxy = await startProxy({ rules: [['allow', '**']] });
  t.teardown(() => proxy.close());
  proxy.recorder.available = false;
  const ask = async (request: string): Promise<string> => {
    const client = await wire(proxy.port);
    client.send(request);
    const answer = await client.toEnd();
    client.socket.destroy();
    return answer;
  };
  const startMs = performance.now();
  const [get = '', connect = '', post = '', malformed = ''] = await Promise.all([
    ask(
      'GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nAccept: application/json\r\nConnection: close\r\n\r\n',
    ),
    ask('CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n'),
    ask('POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n'),
    ask('nonsense\r\n\r\n'),
  ]);
  t.ok(performance.now() - startMs >= SLOT_WAIT_MS_MAX, 'after a while');
  for (const answer of [get, connect, post]) {
    t.match(answer, /^HTTP\/1.1 503 /);
    t.match(answer, 'X-Sallyport-Code: SALLYPORT_AUDIT_UNAVAILABLE');
    t.notMatch(answer, 'Blocked by', 'this is not the policy');
  }
  t.match(get, 'application/problem+json');
  t.match(malformed, /^HTTP\/1.1 400 /);
  t.strictSame(proxy.outcomes, []);
  t.match(proxy.recorder.takeRefused(), [{ code: 'SALLYPORT_AUDIT_UNAVAILABLE', count: 4 }]);

  proxy.recorder.available = true;
  await ask('nonsense\r\n\r\n');
  proxy.recorder.flush();
  t.match(proxy.outcomes, [{ code: 'SALLYPORT_REQUEST_MALFORMED', status: 400 }]);
});
