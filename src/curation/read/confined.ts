/** Where sources may lie: below the folders that the worker allows, and nowhere else. */
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, sep } from 'node:path';
import { CurationError } from '../errors.js';
import { inTime } from './file-bytes.js';
import type { SourceRoots } from './source.js';

/**
 * The real path of what a recipe names, every link followed.
 * @throws CurationError (user-error) when it lies outside the allowed folders, or in a folder or file of them whose name starts with a
 * dot. Nothing is said of what is there; and when there is nothing. FileDeadlineError.
 */
export async function confined(
  path: string,
  { allowed, deadlineMs }: SourceRoots,
  whatFor: string,
): Promise<string> {
  const realOf = (one: string) =>
    inTime(
      one,
      realpath(one).catch(() => undefined),
      deadlineMs,
    );
  const outside = new CurationError(
    'user-error',
    `${whatFor}: ${path} is not below a folder that sources may lie in (${allowed.join(', ')}), or is hidden there; LONGHAUL_DATA_ROOTS of the worker says which`,
  );
  if (!allowed.some((root) => isVisibleBelow(path, root))) throw outside;
  const real = await realOf(path);
  if (real === undefined) throw new CurationError('user-error', `${whatFor}: there is no ${path}`);
  const roots = await Promise.all(allowed.map(async (root) => (await realOf(root)) ?? root));
  if (!roots.some((root) => isVisibleBelow(real, root))) throw outside;
  return real;
}

/** Is it the folder itself or below it, without a component that starts with a dot? Both are absolute. */
function isVisibleBelow(path: string, root: string): boolean {
  const below = relative(root, path);
  return !isAbsolute(below) && !below.split(sep).some((name) => name.startsWith('.'));
}

/** Files and folders whose names start with a dot are nobody's text. */
export function isHidden(name: string): boolean {
  return name.startsWith('.');
}
