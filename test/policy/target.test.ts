import t from 'tap';
import { parseTarget } from '../../src/policy/target.ts';

t.test('what people write', async (t) => {
  const read: [text: string, host: string, port: number][] = [
    ['example.com', 'example.com', 443],
    ['Example.COM.', 'example.com', 443],
    [' example.com:80 ', 'example.com', 80],
    ['example.com:65535', 'example.com', 65_535],
    ['10.1.2.3', '10.1.2.3', 443],
    ['10.1.2.3:22', '10.1.2.3', 22],
    ['2001:db8::1', '2001:db8::1', 443],
    ['[2001:DB8::1]', '2001:db8::1', 443],
    ['[2001:db8::1]:22', '2001:db8::1', 22],
    ['[::ffff:10.0.0.1]:22', '10.0.0.1', 22],
    ['localhost:11434', 'localhost', 11_434],
    ['host.docker.internal:80', 'localhost', 80],
    ['https://example.com', 'example.com', 443],
    ['https://example.com/a:1/b?c:2#d', 'example.com', 443],
    ['https://example.com?x', 'example.com', 443],
    ['HTTP://example.com:8080/', 'example.com', 8080],
    ['http://[::1]/x', '::1', 80],
    ['http://10.1.2.3/x', '10.1.2.3', 80],
    ['https://10.1.2.3', '10.1.2.3', 443],
    ['ws://example.com', 'example.com', 80],
    ['wss://example.com', 'example.com', 443],
    ['ssh://git@example.com:22/x', 'example.com', 22],
    ['https://example.com@evil.test/', 'evil.test', 443],
    ['bücher.example:443', 'xn--bcher-kva.example', 443],
  ];
  for (const [text, host, port] of read) t.match(parseTarget(text), { host, port }, text);
});

t.test('the path of a URL, as a client would send it', async (t) => {
  const read: [text: string, path: string | null][] = [
    ['example.com', null],
    ['https://example.com', null],
    ['https://example.com/', '/'],
    ['https://example.com/a%2Fb?c=/../d#e', '/a%2Fb?c=/../d'],
    ['https://example.com?x', '/?x'],
    ['https://10.1.2.3/x', '/x'],
  ];
  for (const [text, path] of read) t.equal(parseTarget(text).path, path, text);
  t.throws(() => parseTarget('https://example.com/ä'), { message: /percent-encoding/ });
});

t.test('what is no target says why', async (t) => {
  const faults: [text: string, why: RegExp][] = [
    ['', /empty/],
    ['ssh://example.com', /ssh has no port/],
    ['postgres://db.example.com/x', /postgres has no port/],
    ['example.com:0', /1 to 65535/],
    ['example.com:65536', /1 to 65535/],
    ['example.com:65979', /1 to 65535/],
    ['example.com:0443', /1 to 65535/],
    ['example.com:+443', /1 to 65535/],
    ['example.com:', /1 to 65535/],
    ['example.com:https', /1 to 65535/],
    ['::1:443:', /brackets/],
    [':443', /host is missing/],
    ['example.com/path', /letters, digits/],
    ['user@example.com', /letters, digits/],
    ['https://evil.test\\@example.com/', /backslash/],
    ['*.example.com', /letters, digits/],
    ['127.1', /address/],
    ['0x7f.1:80', /address/],
    ['2130706433', /address/],
    ['[example.com]:80', /IPv6/],
    ['10.0.0.0/8', /letters, digits/],
    ['https://', /empty/],
    ['a b', /letters, digits/],
    ['evil.test\0.example.com', /letters, digits/],
  ];
  for (const [text, message] of faults) {
    t.throws(() => parseTarget(text), { code: 'SALLYPORT_TARGET_INVALID', message }, text);
  }
});
