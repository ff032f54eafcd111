// The one form of host paths.
import t from 'tap';
import {
  faultOfPath,
  foldCase,
  joinSegments,
  readPath,
  styleOf,
} from '../../src/policy/file-path.ts';

t.test('a path has its root first, and no empty names', async (t) => {
  t.strictSame(readPath('/', 'linux'), ['/']);
  t.strictSame(readPath('//home//me/', 'linux'), ['/', 'home', 'me']);
  t.strictSame(readPath('/home/a\\b', 'linux'), ['/', 'home', 'a\\b'], 'a letter like others');
  t.strictSame(readPath('C:\\Data/Project\\', 'windows'), ['c:', 'data', 'project']);
  t.strictSame(readPath('\\\\Server\\Share\\a', 'windows'), ['\\\\server\\share', 'a']);
  t.strictSame(readPath('//wsl$/Ubuntu/home', 'windows'), ['\\\\wsl.localhost\\ubuntu', 'home']);
  t.equal(joinSegments(['/'], 'linux'), '/');
  t.equal(joinSegments(['/', 'a', 'b'], 'macos'), '/a/b');
  t.equal(joinSegments(['c:', 'a'], 'windows'), 'c:\\a');
  t.equal(joinSegments(['c:'], 'windows'), 'c:\\');
});

t.test('letter case is that of the system', async (t) => {
  t.equal(foldCase('Ab', 'linux'), 'Ab');
  t.equal(foldCase('AÄ', 'macos'), 'aä');
  t.equal(foldCase('A\u0308', 'macos'), 'ä', 'composed and decomposed are one');
  t.equal(foldCase('İ', 'windows'), 'İ', 'it would become two letters');
  t.equal(styleOf('win32'), 'windows');
  t.equal(styleOf('darwin'), 'macos');
  t.equal(styleOf('freebsd'), 'linux');
});

t.test('what is no path', async (t) => {
  for (const [path, style, fault] of [
    ['', 'linux', /not absolute/],
    ['home/me', 'linux', /not absolute/],
    ['~/x', 'linux', /not absolute/],
    ['C:\\x', 'linux', /not absolute/],
    ['/a\nb', 'linux', /control character/],
    ['/a\0', 'linux', /control character/],
    [`/${'a'.repeat(4096)}`, 'linux', /more than 4096 bytes/],
    ['C:', 'windows', /not absolute/],
    ['C:x', 'windows', /not absolute/],
    ['/x', 'windows', /not absolute/],
    ['\\\\server', 'windows', /not absolute/],
    ['\\\\?\\C:\\x', 'windows', /device/],
    ['\\\\.\\pipe\\x', 'windows', /device/],
    ['//?/C:/x', 'windows', /device/],
  ] as const) {
    t.match(faultOfPath(path, style) ?? '', fault, `${style} ${path.slice(0, 20)}`);
    t.type(readPath(path, style), 'string');
  }
});

t.test('spellings that the system takes for another name are refused', async (t) => {
  t.match(readPath('/a/../b', 'linux'), 'it has a segment ..');
  t.match(readPath('/a/./b', 'linux'), 'it has a segment .');
  for (const path of ['C:\\a.', 'C:\\a \\b', 'C:\\a:stream', 'C:\\a*']) {
    t.match(readPath(path, 'windows'), 'another spelling');
  }
  t.match(readPath('/a'.repeat(128), 'linux'), 'more than 128 folders');
});
