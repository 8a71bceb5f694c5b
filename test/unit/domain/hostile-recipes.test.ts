/** Whatever stands at whichever place of a recipe or an update, the answer is one bounded error, or a recipe that can be planned. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as json from '../../../src/domain/lib/json.js';
import type { JsonPath } from '../../../src/domain/lib/json.js';
import {
  OPERATOR_ACTION_NAMES,
  operatorFields,
  shapeProblem,
} from '../../../src/domain/run/operator-actions.js';
import { formatPlan, plan } from '../../../src/domain/plan/plan.js';
import { PROBLEMS_TOLD } from '../../../src/domain/recipe/problem.js';
import { recipeInputJsonSchema } from '../../../src/domain/recipe/json-schema.js';
import { formatProblems, parseRecipe } from '../../../src/domain/recipe/parse.js';
import { wellFormed } from '../../../src/domain/lib/text.js';
import { walk } from '../../../src/domain/walk/walk.js';
import { HOSTILE_VALUES } from '../../support/hostile.js';

const counted = vi.hoisted(() => ({ merges: 0, mendings: 0 }));

vi.mock('../../../src/domain/lib/json.js', async (importOriginal) => {
  const original = await importOriginal<typeof json>();
  return {
    ...original,
    merge: (...of: Parameters<typeof original.merge>) => {
      counted.merges += 1;
      return original.merge(...of);
    },
    withValueAt: (...of: Parameters<typeof original.withValueAt>) => {
      counted.mendings += 1;
      return original.withValueAt(...of);
    },
  };
});

beforeEach(() => {
  counted.merges = 0;
  counted.mendings = 0;
});

/** Longest answer, characters. */
const BOUND = 20_001;

/** Every place that a schema has, a `*` where it takes any name, 0 for the items of a list. */
function placesOf(schema: unknown, path: JsonPath = []): JsonPath[] {
  if (!json.isObject(schema)) return [];
  const { properties, additionalProperties, items, anyOf, oneOf } = schema;
  const inner = [
    ...Object.entries(json.isObject(properties) ? properties : {}),
    ...(json.isObject(additionalProperties) ? [['*', additionalProperties] as const] : []),
    ...(json.isObject(items) ? [[0, items] as const] : []),
  ].flatMap(([key, value]) => placesOf(value, [...path, key]));
  const variants = [anyOf, oneOf].flatMap((list): unknown[] => (Array.isArray(list) ? list : []));
  const all = [path, ...inner, ...variants.flatMap((variant) => placesOf(variant, path))];
  return [...new Map(all.map((place) => [JSON.stringify(place), place])).values()];
}

function resolved(input: unknown): unknown {
  const parsed = parseRecipe(input);
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  return parsed.recipe;
}

const RECIPE = resolved({});

/** The place in the preset: the first name that it has there. */
function inPreset(place: JsonPath): JsonPath {
  return place.reduce<JsonPath>((path, part) => {
    const there = json.valueAt(RECIPE, path);
    const name = json.isObject(there) ? Object.keys(there)[0] : undefined;
    return [...path, part === '*' ? (name ?? 'x') : part];
  }, []);
}

function expectBounded(text: string, what: string): void {
  expect(text.length, what).toBeLessThan(BOUND);
  expect(wellFormed(text), what).toBe(text);
}

/** Takes a recipe, or refuses it, within bounds. */
function expectAnswer(input: unknown, what: string): void {
  const parsed = parseRecipe(input);
  if (parsed.ok) {
    expect(walk(parsed.recipe).length, what).toBeGreaterThan(0);
    const text = formatPlan(plan(parsed.recipe));
    expect(text.length, what).toBeLessThan(100_000);
    if (!what.startsWith('NaN')) expect(text, what).not.toMatch(/NaN|undefined/);
    return;
  }
  expect(parsed.problems.length, what).toBeGreaterThan(0);
  expect(parsed.problems.length, what).toBeLessThanOrEqual(PROBLEMS_TOLD);
  expectBounded(formatProblems(parsed.problems, parsed.untold), what);
}

describe('a hostile value at any place of a recipe', () => {
  const places = placesOf(recipeInputJsonSchema()).filter((place) => place.length > 0);

  it('knows every place', () => {
    expect(places.length).toBeGreaterThan(140);
    expect(places).toContainEqual(['stages', '*', 'mix', 0, 'share']);
  });

  it.each([...HOSTILE_VALUES])('%s', (name, value) => {
    for (const place of places) {
      const path = inPreset(place);
      expectAnswer(json.withValueAt(RECIPE, path, value), `${name} at ${path.join('.')}`);
    }
  });

  it('as a whole, and as the name of everything that has a name', () => {
    for (const [name, value] of HOSTILE_VALUES) {
      expectAnswer(value, name);
      if (typeof value !== 'string') continue;
      for (const map of ['stages', 'tasks', 'evaluations', 'data'])
        expectAnswer({ [map]: JSON.parse(`{${JSON.stringify(value)}: {}}`) as unknown }, name);
    }
  });
});

describe('a recipe of too much is refused for that alone', () => {
  const many = (count: number, value: (index: number) => unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`s-${index}`, value(index)]));
  const problemsOf = (input: unknown) => {
    const parsed = parseRecipe(input);
    return parsed.ok ? [] : parsed.problems;
  };

  it('more than 128 KB, more than 32 levels, more than 200 of a kind', () => {
    expect(problemsOf({ name: 'x'.repeat(140_000) })).toMatchObject([{ message: 'is too large' }]);
    let deep: unknown = {};
    for (let level = 0; level < 40; level += 1) deep = { deep };
    expect(problemsOf({ deep })).toMatchObject([{ message: 'is nested too deeply' }]);
    for (const kind of ['stages', 'tasks', 'evaluations'])
      expect(problemsOf({ [kind]: many(201, () => ({})) })).toMatchObject([{ path: kind }]);
  });

  it('tells fifty problems, and how many there are besides', () => {
    const parsed = parseRecipe(many(2000, (index) => index));
    if (parsed.ok) throw new Error('it was taken');
    expect(parsed.problems).toHaveLength(PROBLEMS_TOLD);
    expect(parsed.untold).toBe(2000 - PROBLEMS_TOLD);
    expect(formatProblems(parsed.problems, parsed.untold)).toMatch(
      /: 2000 problems\n(.*\n)*- and 1950 more$/,
    );
  });

  it('mends no more for 2,000 unknown keys than for 51', () => {
    parseRecipe(many(51, (index) => index));
    const { mendings } = counted;
    counted.mendings = 0;
    parseRecipe(many(2000, (index) => index));
    expect(counted.mendings).toBe(mendings);
  });

  it('merges each of 200 stages once, however they are like each other', () => {
    const chain = many(200, (index) => ({ like: index === 199 ? 'sft' : `s-${index + 1}` }));
    const parsed = parseRecipe({ stages: chain });
    expect(parsed.ok).toBe(true);
    // Once for the recipe, and once for each stage.
    expect(counted.merges).toBeLessThanOrEqual(1 + 200);
  });

  it('says of a circle of stages that are like each other that it is one', () => {
    const circle = many(200, (index) => ({ like: `s-${(index + 1) % 200}` }));
    expect(problemsOf({ stages: circle })).toContainEqual(
      expect.objectContaining({ path: 'stages.s-199.like', message: 'is like itself' }),
    );
  });
});

describe('a hostile value in any field of an update', () => {
  const who = { actor: 'kim', reason: 'a test' };
  it.each(OPERATOR_ACTION_NAMES)('%s', (action) => {
    for (const [name, value] of HOSTILE_VALUES) {
      expectBounded(shapeProblem(action, value) ?? '', name);
      for (const field of ['actor', 'reason', 'unknown', ...operatorFields(action).map(({ name }) => name)]) {
        expectBounded(shapeProblem(action, { ...who, [field]: value }) ?? '', `${name} in ${field}`);
      }
    }
  });
});
