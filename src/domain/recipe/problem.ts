/** What is wrong with a recipe, or a message, told in a way that says how to put it right. */
import type { z } from 'zod';
import { withinLimit } from '../lib/text.js';

/** One problem of a recipe. Checks that need a store or a file (an activity's) speak in the same form. */
export interface Problem {
  /** Where, as in `stages.stage-1.mix[2].share`; empty for the recipe as a whole. */
  readonly path: string;
  /** What is wrong there, without the path and without a final full stop. */
  readonly message: string;
  /** What would be accepted, where that can be said. */
  readonly accepted?: string | undefined;
}

/** `stages.stage-1.mix[2].share` from its parts. */
export function formatPath(parts: readonly PropertyKey[]): string {
  return parts
    .map((part, index) =>
      typeof part === 'number' ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`,
    )
    .join('');
}

/** Most problems of a recipe that are told. */
export const PROBLEMS_TOLD = 50;
/** Most characters of all of them, and the fewest that each may have. */
const ALL_CHARACTERS = 16_000;
const LINE_CHARACTERS = 300;

/**
 * Every problem that is told, one a line, under a heading that says how many there are in all: the text of the failure that refuses
 * a recipe. `untold`: how many there are besides.
 */
export function formatProblems(problems: readonly Problem[], untold = 0): string {
  const count = problems.length + untold;
  const heading = `The recipe was refused, nothing was launched: ${count} ${count === 1 ? 'problem' : 'problems'}`;
  return [heading, ...problemLines(problems, untold).map((line) => `- ${line}`)].join('\n');
}

/** Every problem that is told, each in one line of bounded length. `untold`: how many there are besides. */
export function problemLines(problems: readonly Problem[], untold = 0): string[] {
  const room = Math.max(LINE_CHARACTERS, Math.floor(ALL_CHARACTERS / problems.length));
  const told = problems.map((problem) => withinLimit(formatProblem(problem), room));
  return untold === 0 ? told : [...told, `and ${untold} more`];
}

/** One problem in one line: path, message, what would be accepted. */
export function formatProblem(problem: Problem): string {
  const place = problem.path === '' ? 'recipe' : problem.path;
  const accepted = problem.accepted === undefined ? '' : ` — accepted: ${problem.accepted}`;
  return withinLimit(`${place}: ${problem.message}${accepted}`, ALL_CHARACTERS);
}

/** Most issues of a message that are told, and most characters of each. */
const ISSUES_TOLD = 10;
const ISSUE_CHARACTERS = 300;

/** What a schema has to say about a value, in one line: every issue with its path, up to so many. Its length is bounded. */
export function issuesText({ issues }: z.ZodError): string {
  const told = issues.slice(0, ISSUES_TOLD).map(({ path, message }) => {
    const at = path.length === 0 ? '' : `${formatPath(path)}: `;
    return withinLimit(`${at}${message}`, ISSUE_CHARACTERS);
  });
  const more = issues.length - told.length;
  return [...told, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}
