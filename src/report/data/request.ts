/** What the workflow knows and the report needs; everything else is read from the object store. */
import type { Digest } from '../../contracts/index.js';
import type { Recipe } from '../../domain/recipe/schema.js';
import type { RunStatus } from '../../domain/run/status.js';

/** A request for a report of a run as it stands. */
export interface ReportRequest {
  readonly run: string;
  readonly runUrl: string;
  readonly recipe: Recipe;
  readonly recipeDigest: Digest;
  readonly status: RunStatus;
}
