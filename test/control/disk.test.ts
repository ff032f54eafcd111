// Real links and folders: where a path leads, and what cannot be followed.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FILE_RESOLVE_WAITING_MAX, FILE_RESOLVING_MAX } from '../../src/base/limits.ts';
import { Disk } from '../../src/control/disk.ts';
import { temporaryFolder } from '../helpers/control.ts';

/** A tree with links; its own place has none. */
function tree(t: Test): string {
  const root = realpathSync(temporaryFolder(t));
  mkdirSync(join(root, 'real/deep'), { recursive: true });
  mkdirSync(join(root, 'secret'));
  writeFileSync(join(root, 'real/file'), '');
  symlinkSync(join(root, 'real'), join(root, 'link'));
  symlinkSync('../secret', join(root, 'real/out'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync(join(root, 'gone'), join(root, 'dangling'));
  return root;
}

const disk = new Disk('linux');

t.test('links and .. are followed', async (t) => {
  const root = tree(t);
  const led = (path: string) =>
    disk.look(async (look) => (await look.resolve(root + path)).path.slice(root.length));
  t.equal(await led('/real/deep'), '/real/deep');
  t.equal(await led('//real///deep//'), '/real/deep');
  t.equal(await led('/link/deep'), '/real/deep');
  t.equal(await led('/link/out'), '/secret', 'a link in a folder behind a link');
  t.equal(await led('/link/..'), '', 'the parent of where it leads, not of the link');
  t.equal(await led('/real/out/../real/deep'), '/real/deep');
  t.equal(await led('/link/new/folder'), '/real/new/folder', 'what is not there yet');
  t.equal((await disk.look((look) => look.resolve('/'))).path, '/');
  const found = await disk.look((look) => look.resolve(join(root, 'link')));
  t.match(found, { found: { directory: true, device: /^\d+$/, inode: /^\d+$/ } });
  const file = await disk.look((look) => look.resolve(join(root, 'link/file')));
  t.match(file, { found: { directory: false } });
  t.equal((await disk.look((look) => look.resolve(join(root, 'nope')))).found, null);
});

t.test('what cannot be followed is refused', async (t) => {
  const root = tree(t);
  for (const [path, message] of [
    ['/loop', /circle/],
    ['/loop/x', /circle/],
    ['/dangling', /dangling is a link that leads nowhere/],
    ['/dangling/', /leads nowhere/],
    ['/dangling/x/y', /leads nowhere/],
    ['/real/file/x', /no folder/],
    ['/gone/../secret', /a segment \.\. behind a folder that is not there/],
    ['/gone/./x', /a segment \. behind/],
    [`/${'a'.repeat(300)}`, /too long/],
  ] as const) {
    const wanted = { code: 'SALLYPORT_PATH_UNREADABLE', message };
    await t.rejects(
      disk.look((look) => look.resolve(root + path)),
      wanted,
      path,
    );
  }
  for (const path of ['relative', '', '/a\nb', '/a\0b', '/a/../'.repeat(70)]) {
    const wanted = { code: 'SALLYPORT_PATH_INVALID' };
    await t.rejects(
      disk.look((look) => look.resolve(path)),
      wanted,
      path,
    );
  }
});

t.test('a name that is no UTF-8 is refused', { skip: process.platform !== 'linux' }, async (t) => {
  const root = tree(t);
  const odd = Buffer.concat([Buffer.from(`${root}/odd-`), Buffer.from([0xff])]);
  mkdirSync(odd);
  symlinkSync(odd, join(root, 'to-odd'));
  await t.rejects(
    disk.look((look) => look.resolve(join(root, 'to-odd'))),
    { code: 'SALLYPORT_PATH_UNREADABLE', message: /no UTF-8/ },
  );
});

t.test('a folder that may not be read', async (t) => {
  const root = tree(t);
  mkdirSync(join(root, 'closed/inner'), { recursive: true });
  chmodSync(root, 0o755);
  chmodSync(join(root, 'closed'), 0o600);
  t.teardown(() => chmodSync(join(root, 'closed'), 0o700));
  const file = join(import.meta.dirname, '../../src/control/disk.ts');
  const script = `
    if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534); }
    const path = ${JSON.stringify(join(root, 'closed/inner'))};
    const disk = new Disk('linux');
    const told = await disk.look((look) => look.resolve(path)).catch((error) => error);
    console.log(told.code, told.message);
    console.log((await disk.look((look) => look.follow(path))).join(' '));`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `import { Disk } from ${JSON.stringify(file)};${script}`],
    { encoding: 'utf8' },
  );
  const [refused = '', followed] = stdout.split('\n');
  t.match(refused, /^SALLYPORT_PATH_UNREADABLE .*may not be read/, stderr);
  t.equal(followed, ['/', ...root.split('/').slice(1), 'closed', 'inner'].join(' '));
});

t.test('a rule is followed as far as there is something', async (t) => {
  const root = tree(t);
  const names = root.split('/').slice(1);
  const follow = (path: string) => disk.look((look) => look.follow(root + path));
  t.strictSame(await follow('/link/out/x'), ['/', ...names, 'secret', 'x']);
  t.strictSame(await follow('/link/nope/x'), ['/', ...names, 'real', 'nope', 'x']);
  t.strictSame(await follow('/dangling/x'), ['/', ...names, 'dangling', 'x']);
  t.strictSame(await follow('/loop'), ['/', ...names, 'loop']);
  t.strictSame(await follow('/'), ['/', ...names]);
});

t.test('one that hangs is given up, keeps its place, and bounds hold', async (t) => {
  const slow = new Disk('linux', 50);
  const hanging = Promise.withResolvers<void>();
  const hung = Array.from({ length: FILE_RESOLVING_MAX }, () => slow.look(() => hanging.promise));
  const waiting = Array.from({ length: FILE_RESOLVE_WAITING_MAX }, () =>
    slow.look(async () => 'never'),
  );
  await t.rejects(
    slow.look(async () => 'never'),
    { code: 'SALLYPORT_OVERLOADED' },
  );
  for (const one of hung) {
    await t.rejects(one, { code: 'SALLYPORT_PATH_UNREADABLE', message: /within 50 ms/ });
  }
  const told = await Promise.allSettled(waiting);
  t.ok(told.every(({ status }) => status === 'rejected'));
  hanging.resolve();
  t.equal(await slow.look(async () => 'again'), 'again');
});
