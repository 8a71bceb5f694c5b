/** Whether a disturbed run ended as the undisturbed one did. Pure: evidence in, verdicts out. */
import type {
  AttemptEvidence,
  ConsumedRows,
  EvaluatedEvidence,
  StageEvidence,
  TrainedEvidence,
} from './evidence.js';

/** One thing that was checked. */
export interface Check {
  /** Stage folder; null: of the run as a whole. */
  readonly stage: string | null;
  readonly what: string;
  readonly passed: boolean;
  /** One sentence: what was found. */
  readonly found: string;
}

/** Compares every stage of two runs of the same recipe. */
export function compareRuns(
  undisturbed: readonly StageEvidence[],
  disturbed: readonly StageEvidence[],
): Check[] {
  const others = new Map(disturbed.map((stage) => [stage.folder, stage]));
  if (undisturbed.length === 0) {
    return [
      { stage: null, what: 'stages', passed: false, found: 'the undisturbed run has no stage with a job' },
    ];
  }
  return undisturbed.flatMap((stage) => compareStage(stage, others.get(stage.folder)));
}

function compareStage(one: StageEvidence, other: StageEvidence | undefined): Check[] {
  const finished = { stage: one.folder, what: 'finished' };
  if (one.kind === 'unfinished') return [{ ...finished, passed: false, found: 'not in the undisturbed run' }];
  if (other === undefined || other.kind === 'unfinished') {
    return [
      { ...finished, passed: false, found: `not in the disturbed run; ${attemptsText(other?.attempts)}` },
    ];
  }
  const checks: Check[] = [{ ...finished, passed: true, found: attemptsText(other.attempts) }];
  if (one.kind === 'train' && other.kind === 'train') return [...checks, ...compareTraining(one, other)];
  if (one.kind === 'evaluate' && other.kind === 'evaluate') return [...checks, compareAnswers(one, other)];
  return [{ ...finished, passed: false, found: `${one.kind} in one run, ${other.kind} in the other` }];
}

function compareTraining(one: TrainedEvidence, other: TrainedEvidence): Check[] {
  const stage = one.folder;
  return [
    compareFingerprints(one, other),
    {
      stage,
      what: 'weights',
      passed: one.weightsDigest === other.weightsDigest,
      found: same(one.weightsDigest, other.weightsDigest),
    },
    compareState(one, other),
    sampleCheck(one, other),
  ];
}

/** Bits can only be compared between attempts that compute alike; one that does not is named. */
function compareFingerprints(one: TrainedEvidence, other: TrainedEvidence): Check {
  const known = [...one.attempts, ...other.attempts].flatMap(({ fingerprint }) =>
    fingerprint === null || Object.keys(fingerprint).length === 0 ? [] : [fingerprint],
  );
  const reference = known[0];
  const differing = other.attempts.flatMap(({ epoch, fingerprint }) => {
    if (fingerprint === null || reference === undefined || Object.keys(fingerprint).length === 0) return [];
    const keys = [...new Set([...Object.keys(reference), ...Object.keys(fingerprint)])].filter(
      (key) => reference[key] !== fingerprint[key],
    );
    return keys.length === 0 ? [] : [`attempt ${epoch} differs in ${keys.join(', ')}`];
  });
  return {
    stage: one.folder,
    what: 'numerics fingerprint',
    passed: differing.length === 0,
    found: differing.length === 0 ? 'all attempts compute alike' : differing.join('; '),
  };
}

function compareState(one: TrainedEvidence, other: TrainedEvidence): Check {
  const digests = new Map(other.files.map(({ path, digest }) => [path, digest]));
  const differing = one.files.filter(({ path, digest }) => digests.get(path) !== digest);
  const passed = differing.length === 0 && one.files.length === other.files.length && one.files.length > 0;
  const names = one.files.map(({ path }) => path).join(', ');
  return {
    stage: one.folder,
    what: 'optimizer state and counters',
    passed,
    found: passed
      ? `every byte of ${names} is the same`
      : `different: ${differing.map(({ path }) => path).join(', ') || 'the list of files'}`,
  };
}

function sampleCheck(one: TrainedEvidence, other: TrainedEvidence): Check {
  const problems = [...one.problems, ...other.problems, ...gaps(other)];
  return {
    stage: one.folder,
    what: 'samples',
    passed: problems.length === 0,
    found:
      problems.length === 0
        ? `${coverageText(other)}, each once and in order`
        : `${problems.slice(0, 5).join('; ')}${problems.length > 5 ? '; …' : ''}`,
  };
}

/** Commits that do not begin where the one before ended, and an end that is not the stage's. */
function gaps({ consumed, rows }: TrainedEvidence): string[] {
  const [first] = consumed;
  if (first === undefined) return ['the final checkpoint has no readable manifest'];
  const found: string[] = [];
  let at = first.first;
  for (const range of consumed) {
    if (range.first !== at || range.end <= range.first) found.push(rangeProblem(range, at));
    at = range.end;
  }
  if (at !== rows) found.push(`the last commit ends at row ${at} of ${rows}`);
  return found;
}

function rangeProblem({ commit, first, end }: ConsumedRows, expected: number): string {
  return `${commit} consumed rows ${first} to ${end}, where ${expected} came next`;
}

function coverageText({ consumed, rows }: TrainedEvidence): string {
  const from = consumed[0]?.first ?? 0;
  const commits = `in ${consumed.length} ${consumed.length === 1 ? 'commit' : 'commits'}`;
  return from === 0
    ? `all ${rows} rows ${commits}`
    : `rows ${from} to ${rows} ${commits}, earlier manifests being removed by retention`;
}

function compareAnswers(one: EvaluatedEvidence, other: EvaluatedEvidence): Check {
  const passed = one.answersDigest === other.answersDigest && one.samples === other.samples;
  return {
    stage: one.folder,
    what: 'answers',
    passed,
    found: passed ? `${one.samples} samples, all the same` : 'answers differ',
  };
}

function attemptsText(attempts: readonly AttemptEvidence[] = []): string {
  const counts = new Map<string, number>();
  for (const { ended } of attempts) {
    const key = ended ?? 'died without a word';
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const parts = [...counts].map(([ended, count]) => (count === 1 ? ended : `${count} × ${ended}`));
  return `${attempts.length} ${attempts.length === 1 ? 'attempt' : 'attempts'}: ${parts.join(', ')}`;
}

function same(one: string, other: string): string {
  return one === other ? one : `${one} undisturbed, ${other} disturbed`;
}
