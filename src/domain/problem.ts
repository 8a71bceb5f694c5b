/** What is wrong with a recipe, told in a way that says how to put it right. */

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

/** Every problem, one a line, under a heading: the text of the failure that refuses a recipe. */
export function formatProblems(problems: readonly Problem[]): string {
  const heading = `The recipe was refused, nothing was launched: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
  return [heading, ...problems.map((problem) => `- ${formatProblem(problem)}`)].join('\n');
}

/** One problem in one line: path, message, what would be accepted. */
export function formatProblem(problem: Problem): string {
  const place = problem.path === '' ? 'recipe' : problem.path;
  const accepted = problem.accepted === undefined ? '' : ` — accepted: ${problem.accepted}`;
  return `${place}: ${problem.message}${accepted}`;
}
