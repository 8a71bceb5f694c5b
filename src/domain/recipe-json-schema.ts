/**
 * The JSON Schema of what a user may write, for editors, the reference page and the "accepted" part of problems. It is the
 * complete recipe's schema with everything optional (the preset has it), `null` to remove a named thing, and the fields that only
 * the input has.
 */
import { z } from 'zod';
import { isObject } from './json.js';
import type { JsonObject, JsonPath } from './json.js';
import { PRESETS } from './presets.js';
import { recipeSchema } from './recipe-schema.js';

/** Fields that a stage has in the input only. */
const STAGE_INPUT_FIELDS: JsonObject = {
  like: {
    type: 'string',
    description: 'Another stage, whose settings this one starts from: a branch in one line',
  },
  steps: { type: 'integer', exclusiveMinimum: 0, description: 'Optimizer steps, instead of `tokens`' },
};

/** JSON Schema (draft 2020-12) of a recipe as users write it. */
export function recipeInputJsonSchema(): JsonObject {
  const complete: unknown = z.toJSONSchema(recipeSchema, { io: 'input', unrepresentable: 'any' });
  const partial = relax(complete, []);
  if (!isObject(partial)) throw new TypeError('the recipe schema is an object');
  return { title: 'Longhaul recipe', ...partial };
}

/** Fields of overrides may be left out, except inside lists and named unions, which replace the preset's. */
function relax(schema: unknown, path: readonly string[]): unknown {
  if (!isObject(schema)) return schema;
  const { required: _required, ...rest } = schema;
  const properties = rest['properties'];
  const values = rest['additionalProperties'];
  const relaxed: Record<string, unknown> = { ...rest };
  if (isObject(properties)) relaxed['properties'] = relaxProperties(properties, path);
  if (isObject(values)) relaxed['additionalProperties'] = orNull(relax(values, [...path, '*']));
  return relaxed;
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
    return { ...own, preset };
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
