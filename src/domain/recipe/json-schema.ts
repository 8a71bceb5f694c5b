/**
 * The JSON Schema of what a user may write, for editors, the reference page and the "accepted" part of problems. It is the
 * complete recipe's schema with everything optional (the preset has it), `null` to remove a named thing, and the fields that only
 * the input has.
 */
import { inputJsonSchema } from '../lib/json-schema.js';
import { isObject, without } from '../lib/json.js';
import type { JsonObject, JsonPath } from '../lib/json.js';
import { PRESETS } from './presets/index.js';
import { recipeSchema } from './schema.js';

/** Fields that a stage has in the input only. */
const STAGE_INPUT_FIELDS: JsonObject = {
  like: {
    type: 'string',
    description: 'Another stage, whose settings this one starts from: a branch in one line',
  },
  steps: { type: 'integer', exclusiveMinimum: 0, description: 'Optimizer steps, instead of `tokens`' },
};

let made: JsonObject | undefined;

/** JSON Schema (draft 2020-12) of a recipe as users write it. Made once: a refused recipe asks for it per problem. */
export function recipeInputJsonSchema(): JsonObject {
  made ??= makeInputJsonSchema();
  return made;
}

function makeInputJsonSchema(): JsonObject {
  const partial = relax(inputJsonSchema(recipeSchema), []);
  if (!isObject(partial)) throw new TypeError('the recipe schema is an object');
  return { title: 'Longhaul recipe', ...partial };
}

/**
 * Fields of overrides may be left out, in the variants of a union too. Inside lists they may not: a list replaces the preset's
 * whole list.
 */
function relax(schema: unknown, path: readonly string[]): unknown {
  if (!isObject(schema)) return schema;
  const { properties, additionalProperties, oneOf, ...rest } = without(schema, 'required');
  return {
    ...rest,
    ...(isObject(properties) ? { properties: relaxProperties(properties, path) } : {}),
    ...(additionalProperties === undefined
      ? {}
      : { additionalProperties: relaxValues(additionalProperties, path) }),
    ...(Array.isArray(oneOf) ? { anyOf: oneOf.map((variant: unknown) => relax(variant, path)) } : {}),
  };
}

function relaxValues(values: unknown, path: readonly string[]): unknown {
  return isObject(values) ? orNull(relax(values, [...path, '*'])) : values;
}

function relaxProperties(properties: JsonObject, path: readonly string[]): JsonObject {
  const own = Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [key, relax(value, [...path, key])]),
  );
  if (path.length === 0) {
    const preset = {
      type: 'string',
      enum: Object.keys(PRESETS),
      description: 'What the overrides are laid over',
    };
    return { $schema: { type: 'string', description: 'For editors; ignored' }, ...own, preset };
  }
  return path.join('.') === 'stages.*' ? { ...STAGE_INPUT_FIELDS, ...own } : own;
}

function orNull(schema: unknown): unknown {
  return { anyOf: [schema, { type: 'null', description: 'Removes it' }] };
}

/** At a path: the keys that are known there, or what the value may be. Undefined where nothing can be said. */
export function acceptedAt(path: JsonPath, what: 'keys' | 'value'): string | undefined {
  const candidates = path.reduce<readonly JsonObject[]>(
    (schemas, part) => schemas.flatMap((schema) => children(schema, part)),
    variants(recipeInputJsonSchema()),
  );
  if (what === 'keys') {
    const keys = candidates.flatMap((schema) =>
      isObject(schema['properties']) ? Object.keys(schema['properties']) : [],
    );
    return keys.length === 0 ? undefined : [...new Set(keys)].join(', ');
  }
  const told = candidates.flatMap((schema) => tellValue(schema));
  return told.length === 0 ? undefined : [...new Set(told)].join(' or ');
}

function tellValue(schema: JsonObject): string[] {
  if (Array.isArray(schema['enum'])) return [schema['enum'].map((one) => JSON.stringify(one)).join(', ')];
  if (schema['const'] !== undefined) return [JSON.stringify(schema['const'])];
  return typeof schema['description'] === 'string' ? [schema['description']] : [];
}

function children(schema: JsonObject, part: PropertyKey): readonly JsonObject[] {
  const properties = schema['properties'];
  const child =
    typeof part === 'number'
      ? schema['items']
      : isObject(properties) && Object.hasOwn(properties, part)
        ? properties[String(part)]
        : schema['additionalProperties'];
  return variants(child);
}

/** A schema and, of a union, its alternatives; the union itself first, as its description speaks for all. */
function variants(schema: unknown): readonly JsonObject[] {
  if (!isObject(schema)) return [];
  const alternatives = [schema['anyOf'], schema['oneOf']].flatMap((list): unknown[] =>
    Array.isArray(list) ? list : [],
  );
  if (alternatives.length === 0) return [schema];
  const inner = alternatives.flatMap(variants).filter((one) => one['type'] !== 'null');
  return typeof schema['description'] === 'string' ? [schema, ...inner] : inner;
}
