// The policies to start from. A preset is chosen once; its rules are rules like others, under names
// of their own in place of ids.
import { BALANCED } from './balanced.ts';
import { parseResources, type Resource } from './resource.ts';
import type { Decision } from './rule.ts';

export type PresetName = 'allow-all' | 'balanced' | 'deny-all';

export type Preset = {
  /** What people choose by. */
  readonly label: string;
  readonly text: string;
};

/** In the order they are offered. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  'allow-all': { label: 'Open', text: 'All network traffic allowed, no restrictions.' },
  balanced: { label: 'Balanced', text: 'Default deny, with common dev sites allowed.' },
  'deny-all': { label: 'Locked Down', text: 'All network traffic blocked unless you allow it.' },
};

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];

export type PresetRule = {
  readonly id: string;
  readonly decision: Decision;
  readonly resources: readonly Resource[];
};

/** Filesystem rules that every preset begins with: all paths, for reading and for writing. */
export const FILESYSTEM_DEFAULTS = [
  { id: 'default-fs-read-allow-all', access: 'read', patterns: ['**'] },
  { id: 'default-fs-write-allow-all', access: 'write', patterns: ['**'] },
] as const;

export function isPreset(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name);
}

/** The network rules a preset begins with; deny-all has none, as nothing allowed is denied. */
export function presetRules(preset: PresetName): PresetRule[] {
  if (preset === 'allow-all')
    return [{ id: 'default-allow-all', decision: 'allow', resources: parseResources('**') }];
  if (preset === 'deny-all') return [];
  return Object.entries(BALANCED).map(([id, resources]) => ({
    id,
    decision: 'allow',
    resources: parseResources(resources.join(',')),
  }));
}
