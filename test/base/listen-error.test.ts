import t from 'tap';
import { CODES } from '../../src/base/errors.ts';
import { listenError } from '../../src/base/listen-error.ts';

t.test('the next step is that for the errno', async (t) => {
  for (const [text, hint] of [
    ['listen EADDRINUSE: address already in use 127.0.0.1:80', /end it, or choose another address/],
    ['Error: listen EACCES: permission denied 127.0.0.1:80', /a port of 1024 or more/],
    ['EPERM', /forbids/],
    ['listen EADDRNOTAVAIL: address not available 192.0.2.1', /no such address/],
  ] as const) {
    const error = listenError(text, 'cannot listen');
    t.match(error, { code: 'SALLYPORT_CONFLICT', message: 'cannot listen', hint });
    t.match(error.toJSON().hint, hint);
  }
  const other = listenError('listen EMFILE: E', 'cannot listen');
  t.equal(other.hint, CODES.SALLYPORT_CONFLICT.hint);
});
