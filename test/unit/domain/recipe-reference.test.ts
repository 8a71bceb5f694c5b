import { describe, expect, it } from 'vitest';
import { RECIPE_EXAMPLES } from '../../../src/domain/recipe/presets/examples.js';
import { recipeInputJsonSchema } from '../../../src/domain/recipe/json-schema.js';
import { recipeReference } from '../../../src/domain/recipe/reference.js';
import { formatProblems, parseRecipe } from '../../../src/domain/recipe/parse.js';

// Both files are rewritten by `npx vitest run test/unit/domain/recipe-reference.test.ts -u`.
describe('the recipe’s documents follow its schema', () => {
  it('docs/recipe-reference.md is what the schema gives', async () => {
    await expect(recipeReference()).toMatchFileSnapshot('../../../docs/recipe-reference.md');
  });

  it('docs/schemas/recipe.schema.json is what the schema gives', async () => {
    const text = `${JSON.stringify(recipeInputJsonSchema(), undefined, 2)}\n`;
    await expect(text).toMatchFileSnapshot('../../../docs/schemas/recipe.schema.json');
  });

  it.each(RECIPE_EXAMPLES.map(({ title, recipe }) => [title, recipe]))(
    'the example is valid: %s',
    (_, recipe) => {
      const parsed = parseRecipe(recipe);
      expect(parsed.ok ? '' : formatProblems(parsed.problems)).toBe('');
    },
  );

  it('says what every field means, but for those whose constant value says it', () => {
    const undescribed = recipeReference()
      .split('\n')
      .filter((line) => /^\| `[^`]*` \| [^`]* \|\s*\|$/.test(line));
    expect(undescribed).toEqual([]);
  });
});
