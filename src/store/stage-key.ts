/** What a stage computes, as one digest: equal keys are the same work. */
import type { Digest, JobSpec } from '../contracts/index.js';
import { digestSchema } from '../contracts/index.js';
import { digestOf } from '../domain/lib/digest.js';

/**
 * Digest of everything that decides a job's result: the code it runs, its settings, and its inputs by content. Where things
 * lie, whose run it is and how often it reports are no part of it.
 * `codeDigest`: of the trainer's image or sources.
 */
export function stageKey(spec: JobSpec, codeDigest: string): Digest {
  const work = Object.fromEntries(Object.entries(spec).filter(([field]) => !NO_PART_OF_IT.has(field)));
  return digestSchema.parse(digestOf({ code: codeDigest, work: byContent(work) }));
}

const NO_PART_OF_IT: ReadonlySet<string> = new Set([
  'run',
  'stage',
  'stageUrl',
  'recipeDigest',
  'events',
] satisfies (keyof JobSpec)[]);

/** References reduced to the digest of what they refer to. */
function byContent(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(byContent);
  if (typeof value !== 'object' || value === null) return value;
  if ('manifestDigest' in value) return { digest: value.manifestDigest };
  if ('digest' in value) return { digest: value.digest };
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, byContent(field)]));
}
