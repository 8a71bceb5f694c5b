/** Records whose keys are a closed set, with their types kept. */

/** The keys of a record, in its order. */
export function keysOf<T extends object>(record: T): (keyof T & string)[] {
  return Object.keys(record).filter((key): key is keyof T & string => key in record);
}

/** A record with a value for each key. */
export function recordOf<K extends string, V>(keys: readonly K[], valueOf: (key: K) => V): Record<K, V> {
  const record: object = Object.fromEntries(keys.map((key) => [key, valueOf(key)]));
  const isWhole = (one: object): one is Record<K, V> => keys.every((key) => key in one);
  if (!isWhole(record)) throw new Error('a key is lost');
  return record;
}
