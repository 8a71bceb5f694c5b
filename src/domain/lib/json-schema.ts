/** JSON Schema as this project publishes it. */
import { z } from 'zod';

/** JSON Schema (draft 2020-12) of what a schema takes. */
export function inputJsonSchema(schema: z.ZodType): object {
  return z.toJSONSchema(schema, { io: 'input', override: dropSafeIntegerLimits });
}

/** zod writes the limits of exact integers into every integer; they say nothing to a reader. */
function dropSafeIntegerLimits({ jsonSchema }: { jsonSchema: { maximum?: number; minimum?: number } }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}
