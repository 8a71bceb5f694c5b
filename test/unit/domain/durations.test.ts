import { describe, expect, it } from 'vitest';
import { isObject } from '../../../src/domain/lib/json.js';
import type { JsonObject } from '../../../src/domain/lib/json.js';
import { recipeInputJsonSchema } from '../../../src/domain/recipe/json-schema.js';
import { problemsOf } from './support.js';

/** Names of fields that hold a duration; what is said per second or hour is none. */
const DURATION = /^(?!.*Per[A-Z])\w*(?:Seconds|Minutes|Hours|Days)(?:[A-Z]\w*)?$/;

/** Every numeric field of a JSON Schema with its path, however it is nested: a record's values have their record's name. */
function* numbers(schema: unknown, path: readonly string[]): Generator<[string, JsonObject]> {
  if (Array.isArray(schema)) for (const one of schema) yield* numbers(one, path);
  if (!isObject(schema)) return;
  if (schema['type'] === 'number' || schema['type'] === 'integer') yield [path.join('.'), schema];
  for (const key of ['anyOf', 'oneOf', 'allOf', 'items', 'additionalProperties'])
    yield* numbers(schema[key], path);
  const { properties } = schema;
  if (!isObject(properties)) return;
  for (const [name, field] of Object.entries(properties)) yield* numbers(field, [...path, name]);
}

const durations = [...numbers(recipeInputJsonSchema(), [])].filter(([path]) =>
  DURATION.test(path.split('.').at(-1) ?? ''),
);

describe('every duration of a recipe has a maximum', () => {
  it('there are some', () => {
    const names = durations.map(([path]) => path);
    for (const known of [
      'execution.graceSeconds',
      'execution.watchdog.floorSeconds',
      'execution.withoutCommit.gpuHours',
    ])
      expect(names).toContain(known);
    expect(names).not.toContain('cost.pricePerGpuHour');
  });

  it.each(durations)('%s', (_, { maximum }) => {
    expect(maximum).toEqual(expect.any(Number));
  });

  it('and one that is longer is a problem with its path', () => {
    const interruptions = { relaunchSeconds: 1e12, stallSeconds: 1e12, meanHoursBetween: 1e12 };
    const told = problemsOf({ cost: { interruptions }, execution: { withoutCommit: { gpuHours: 1e300 } } });
    expect(told.map(({ path }) => path).sort()).toEqual([
      'cost.interruptions.meanHoursBetween',
      'cost.interruptions.relaunchSeconds',
      'cost.interruptions.stallSeconds',
      'execution.withoutCommit.gpuHours',
    ]);
  });
});
