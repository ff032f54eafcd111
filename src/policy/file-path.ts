// Host paths in the one form in which rules are compared with them: segments, the root first, in the
// letter case that the system takes for the same. Knows no disk: links are gone before a path comes here.
import { FILE_PATH_BYTES_MAX, FILE_SEGMENTS_MAX } from '../base/limits.ts';

/** How paths are written and compared. */
export type PathStyle = 'linux' | 'macos' | 'windows';

/** `['/', 'home', 'me']`, `['c:', 'data']`, `['\\\\server\\share', 'data']`. */
export type PathSegments = readonly string[];

/** @param platform  as Node names it */
export function styleOf(platform: string): PathStyle {
  if (platform === 'win32') return 'windows';
  return platform === 'darwin' ? 'macos' : 'linux';
}

/**
 * What is wrong with a path that somebody asks about, before links are looked at.
 *
 * @returns null when it can be resolved
 */
export function faultOfPath(path: string, style: PathStyle): string | null {
  if (Buffer.byteLength(path) > FILE_PATH_BYTES_MAX) {
    return `it has more than ${FILE_PATH_BYTES_MAX} bytes`;
  }
  if (hasControl(path)) return 'it has a control character';
  if (style !== 'windows') return path.startsWith('/') ? null : 'it is not absolute';
  if (/^[\\/]{2}[?.]([\\/]|$)/.test(path)) return 'it names a device, not a path';
  return rootOf(path) === null ? 'it is not absolute' : null;
}

/**
 * Reads a path that has no links and no `..` any more.
 *
 * @returns its segments, or what is wrong with it.
 */
export function readPath(path: string, style: PathStyle): PathSegments | string {
  const fault = faultOfPath(path, style);
  if (fault !== null) return fault;
  const { root, rest } = splitRoot(path, style);
  const names = rest.split(style === 'windows' ? /[\\/]/ : '/').filter((name) => name !== '');
  if (names.length >= FILE_SEGMENTS_MAX) return `it is more than ${FILE_SEGMENTS_MAX} folders deep`;
  for (const name of names) {
    if (name === '.' || name === '..') return `it has a segment ${name}`;
    if (style === 'windows' && !isPlainOnWindows(name)) {
      return `${JSON.stringify(name)} is another spelling of a name`;
    }
  }
  return [root, ...names].map((name) => foldCase(name, style));
}

/** Names that the system takes for the same have one form. */
export function foldCase(name: string, style: PathStyle): string {
  if (style === 'linux') return name;
  // A letter stays where it would become two, so that no name is taken for one of another length.
  const folded = [...name.normalize('NFC')].map((letter) => {
    const lower = letter.toLowerCase();
    return lower.length === letter.length ? lower : letter;
  });
  return folded.join('');
}

/** A path to hand to the system. */
export function joinSegments(segments: PathSegments, style: PathStyle): string {
  const [root = '', ...names] = segments;
  if (style !== 'windows') return `/${names.join('/')}`;
  return `${root}\\${names.join('\\')}`;
}

function splitRoot(path: string, style: PathStyle): { root: string; rest: string } {
  const root = style === 'windows' ? rootOf(path) : '/';
  if (root === null) throw new TypeError('a path that was looked at has a root');
  const length = style === 'windows' && root.length > 2 ? uncLength(path) : root.length;
  return { root, rest: path.slice(length) };
}

const UNC = /^[\\/]{2}([^\\/?*:]+)[\\/]+([^\\/?*:]+)(?=[\\/]|$)/;

/** `C:` or `\\server\share`; the two names of the WSL server are one. */
function rootOf(path: string): string | null {
  if (/^[A-Za-z]:[\\/]/.test(path)) return path.slice(0, 2);
  const found = UNC.exec(path);
  if (found === null) return null;
  const [, server = '', share = ''] = found;
  return `\\\\${/^wsl\$$/i.test(server) ? 'wsl.localhost' : server}\\${share}`;
}

function uncLength(path: string): number {
  return UNC.exec(path)?.[0].length ?? 0;
}

/** Dots and blanks at the end are dropped, and a colon opens another stream of the same file. */
function isPlainOnWindows(name: string): boolean {
  return !/[:"<>|?*]|[. ]$/.test(name);
}

export function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}
