/** The presets a recipe starts from. */
import type { JsonObject } from '../../lib/json.js';
import { PROLONG_8B } from './prolong-8b.js';
import { TINY } from './tiny.js';
import type { RecipeSource } from '../schema.js';

export { TINY_SMOKE } from './tiny.js';

const named = { tiny: TINY, 'prolong-8b': PROLONG_8B } satisfies Record<string, RecipeSource>;

/** Name of a preset. */
export type PresetName = keyof typeof named;

/** What `{}` means. */
export const DEFAULT_PRESET: PresetName = 'tiny';

/** Every preset in its complete form, as plain JSON. */
export const PRESETS: Readonly<Record<PresetName, JsonObject>> = named;

/** Is there a preset of that name? */
export function isPresetName(name: unknown): name is PresetName {
  return typeof name === 'string' && Object.hasOwn(PRESETS, name);
}
