/** Plain JSON values: looking into them, merging and mending them. Nothing is changed in place. */

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;
/** Path of a value: keys and array indices from the root. */
export type JsonPath = readonly PropertyKey[];

/** What is too much about a value: its JSON is too long, or objects and lists lie too deep in each other; null: nothing. */
export function tooMuchOf(
  value: unknown,
  { characters, levels }: { readonly characters: number; readonly levels: number },
): 'characters' | 'levels' | null {
  let left = characters;
  const waiting: { readonly value: unknown; readonly level: number }[] = [{ value, level: 1 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value: one, level } = next;
    if (typeof one !== 'object' || one === null) {
      left -= String(one).length + (typeof one === 'string' ? 2 : 0);
    } else {
      if (level > levels) return 'levels';
      for (const [key, inner] of Object.entries(one)) {
        left -= Array.isArray(one) ? 1 : key.length + 4;
        if (left < 0) return 'characters';
        waiting.push({ value: inner, level: level + 1 });
      }
    }
    if (left < 0) return 'characters';
  }
  return null;
}

/** Is it an object, neither null nor an array? */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a path, undefined where there is none. */
export function valueAt(root: unknown, path: JsonPath): unknown {
  return path.reduce<unknown>((value, part) => {
    if (Array.isArray(value)) return typeof part === 'number' ? value[part] : undefined;
    return isObject(value) && Object.hasOwn(value, part) ? value[String(part)] : undefined;
  }, root);
}

/** A copy with another value at a path; undefined removes the key or the array's item. */
export function withValueAt(root: unknown, path: JsonPath, value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  if (Array.isArray(root)) {
    return root.flatMap((item: unknown, index) => {
      if (index !== first) return [item];
      const replaced = withValueAt(item, rest, value);
      return replaced === undefined ? [] : [replaced];
    });
  }
  const key = String(first);
  const object = isObject(root) ? root : {};
  const replaced = withValueAt(object[key], rest, value);
  return replaced === undefined ? without(object, key) : { ...object, [key]: replaced };
}

/** Fields by name, in order of code units: of a map whose order must not matter. */
export function sortedEntries<T>(record: Readonly<Record<string, T>>): (readonly [string, T])[] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** A copy without one key. */
export function without(object: JsonObject, key: string): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([other]) => other !== key));
}

/** Keys that tell the variants of a union apart: values that differ there replace each other instead of merging. */
const VARIANT_KEYS = ['source', 'kind', 'task'];

/**
 * Overrides laid over a value: objects merge key by key, `null` removes a key, everything else (lists too) replaces. Objects
 * of different variants (another `source`, `kind` or `task`) replace as well.
 */
export function merge(base: unknown, override: unknown): unknown {
  if (!isObject(base) || !isObject(override)) return override;
  if (VARIANT_KEYS.some((key) => Object.hasOwn(override, key) && override[key] !== base[key]))
    return override;
  const keys = new Set([...Object.keys(base), ...Object.keys(override)]);
  return Object.fromEntries(
    [...keys].flatMap((key) => {
      if (!Object.hasOwn(override, key)) return [[key, base[key]]];
      return override[key] === null ? [] : [[key, merge(base[key], override[key])]];
    }),
  );
}
