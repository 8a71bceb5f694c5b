/** What can be said of a recipe's sources before anything is launched, in the recipe's own terms. */
import type { Problem } from '../../domain/recipe/problem.js';
import type { Recipe } from '../../domain/recipe/schema.js';
import type { FileSource } from '../../domain/recipe/sources.js';
import { CurationError } from '../errors.js';
import { openSource } from '../read/index.js';
import type { DocumentSource, SourceRoots } from '../read/index.js';

/** Everything the sources name must be there, and chats must have something to train on. */
export async function checkSources(
  sources: Recipe['data']['sources'],
  roots: SourceRoots,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const [domain, ofDomain] of Object.entries(sources))
    for (const [index, source] of ofDomain.entries())
      if (source.kind !== 'lookups')
        problems.push(...(await checkSource(`data.sources.${domain}[${index}]`, source, roots)));
  return problems;
}

async function checkSource(path: string, source: FileSource, roots: SourceRoots): Promise<Problem[]> {
  try {
    const opened = await openSource(source, roots);
    if (source.kind !== 'chats' || (await hasAssistantTurns(opened))) return [];
    const message = 'no dialogue has an assistant turn to train on';
    return [
      { path, message, accepted: 'dialogues in UltraChat’s form, {"id": …, "data": [user, assistant, …]}' },
    ];
  } catch (error) {
    if (error instanceof CurationError) return [{ path, message: error.message }];
    throw error;
  }
}

async function hasAssistantTurns(source: DocumentSource): Promise<boolean> {
  for await (const item of source.read()) {
    if (item.kind === 'document' && (item.document.turns?.length ?? 0) >= 2) return true;
  }
  return false;
}
