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
  if (style === 'windows' && /^[\\/]{2}[?.]([\\/]|$)/.test(path)) {
    return 'it names a device, not a path';
  }
  const split = splitPath(path, style);
  if (split === null) return 'it is not absolute';
  const deep = split.names.length >= FILE_SEGMENTS_MAX;
  return deep ? `it is more than ${FILE_SEGMENTS_MAX} folders deep` : null;
}

/**
 * Reads a path that has no links and no `..` any more.
 *
 * @returns its segments, or what is wrong with it.
 */
export function readPath(path: string, style: PathStyle): PathSegments | string {
  const fault = faultOfPath(path, style);
  const split = splitPath(path, style);
  if (fault !== null || split === null) return fault ?? 'it is not absolute';
  const { root, names } = split;
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

/** @returns the names of a path as they are written, or null when it is not absolute. */
export function splitPath(
  path: string,
  style: PathStyle,
): { readonly root: string; readonly names: readonly string[] } | null {
  const windows = style === 'windows';
  const [root, length] = windows ? rootOf(path) : (['/', 1] as const);
  if (root === null || (!windows && !path.startsWith('/'))) return null;
  const names = path.slice(length).split(windows ? /[\\/]/ : '/');
  return { root, names: names.filter((name) => name !== '') };
}

const UNC = /^[\\/]{2}([^\\/?*:]+)[\\/]+([^\\/?*:]+)(?=[\\/]|$)/;

/** `C:` or `\\server\share`, and how long it is as written; the two names of the WSL server are one. */
function rootOf(path: string): readonly [root: string | null, length: number] {
  if (/^[A-Za-z]:[\\/]/.test(path)) return [path.slice(0, 2), 2];
  const [whole, server = '', share = ''] = UNC.exec(path) ?? [];
  if (whole === undefined) return [null, 0];
  const told = /^wsl\$$/i.test(server) ? 'wsl.localhost' : server;
  return [`\\\\${told}\\${share}`, whole.length];
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
