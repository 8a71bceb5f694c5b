/** What the run found, in plain sentences made from the numbers alone. */
import type { Verdict } from './statistics.js';
import { length, percent, plural, tokenRange } from '../page/format.js';
import { baseOf, recallComparison, recallLengths, recallOf } from './look-up.js';
import type { Comparison, RecallScore, ReportData, ReportModel } from './report-data.js';

const TASK = 'kv-recall';

/** Two models' exact recall at one length, and the verdict on their difference. */
interface Contest {
  readonly lengthTokens: number;
  readonly promptTokens: RecallScore['promptTokens'];
  readonly model: number;
  readonly against: number;
  readonly verdict: Verdict;
  /** Contexts both were asked about. */
  readonly contexts: number;
}

function contest(
  data: ReportData,
  model: ReportModel,
  against: ReportModel,
  lengthTokens: number,
): Contest | undefined {
  const own = recallOf(data, TASK, model.name, lengthTokens);
  const other = recallOf(data, TASK, against.name, lengthTokens);
  const about: Pick<Comparison, 'task' | 'metric'> = { task: TASK, metric: 'exact-match' };
  const compared = recallComparison(data, {
    ...about,
    lengthTokens,
    model: model.name,
    against: against.name,
  });
  if (own === undefined || other === undefined || compared === undefined) return undefined;
  return {
    lengthTokens,
    promptTokens: own.promptTokens,
    model: own.exactMatch.mean,
    against: other.exactMatch.mean,
    verdict: compared.verdict,
    contexts: compared.difference.clusters,
  };
}

function judged(verdict: Verdict): string {
  switch (verdict) {
    case 'better':
      return 'better';
    case 'worse':
      return 'worse';
    case 'not separable':
      return 'not separable from noise';
  }
}

/** "4K tokens (prompts of 4,092 tokens)": a length, and how long what was asked really is. */
function lengthAsked({ lengthTokens, promptTokens }: Contest, unit: ' tokens' | ''): string {
  return `${length(lengthTokens)}${unit} (prompts of ${tokenRange(promptTokens)})`;
}

/** "4 times the length the base was trained on", where that is so. */
function reach(lengthTokens: number, trained: number | null): string {
  if (trained === null || lengthTokens <= trained) return '';
  const times = Number((lengthTokens / trained).toPrecision(2));
  return `, ${times} times the length the base was trained on,`;
}

/** Beyond the base's length: the longest length that got better, else the longest. */
function leadingContest(contests: readonly Contest[]): Contest | undefined {
  return contests.findLast(({ verdict }) => verdict === 'better') ?? contests.at(-1);
}

function leadSentence(lead: Contest, model: ReportModel, base: ReportModel): string {
  const where = `At ${lengthAsked(lead, ' tokens')}${reach(lead.lengthTokens, base.trainedLengthTokens)}`;
  const scores = `${model.label} answers ${percent(lead.model)} of the key-value questions exactly and the base ${percent(lead.against)}`;
  return `${where} ${scores}: ${judged(lead.verdict)}.`;
}

function otherSentence(others: readonly Contest[]): string[] {
  if (others.length === 0) return [];
  const parts = others.map(
    (other) =>
      `at ${lengthAsked(other, '')} it is ${percent(other.model)} against ${percent(other.against)} (${judged(other.verdict)})`,
  );
  const text = parts.join('; ');
  return [`${text.charAt(0).toUpperCase()}${text.slice(1)}.`];
}

/** Below this many contexts no difference, however clear, can be told from noise: 2 / 2^5 is above 5 %. */
const FEWEST_CONTEXTS = 6;

function fewContextsSentence(contests: readonly Contest[]): string[] {
  const few = contests.filter(({ contexts }) => contexts < FEWEST_CONTEXTS);
  if (few.length === 0) return [];
  const where = few.map(
    ({ lengthTokens, contexts }) => `${plural(contexts, 'context')} at ${length(lengthTokens)}`,
  );
  return [
    `Too few to tell any difference from noise: ${where.join(', ')}; it takes at least ${FEWEST_CONTEXTS}.`,
  ];
}

/** The best of the models whose theta was changed and nothing trained. */
function thetaSentence(data: ReportData, base: ReportModel, lengthTokens: number): string[] {
  const contests = data.models
    .filter((model) => model.role === 'theta-only')
    .flatMap((model) => contest(data, model, base, lengthTokens) ?? [])
    .sort((a, b) => b.model - a.model);
  const [best] = contests;
  if (best === undefined) return [];
  const most = contests.length > 1 && best.model > 0 ? 'at most ' : '';
  return [
    `Changing only the RoPE base, without training, reaches ${most}${percent(best.model)} there: ${judged(best.verdict)}.`,
  ];
}

function sftSentence(data: ReportData, parent: ReportModel, lengthTokens: number): string[] {
  const sft = data.models.find((model) => model.role === 'sft' && model.startsFrom === parent.name);
  const result = sft && contest(data, sft, parent, lengthTokens);
  if (sft === undefined || result === undefined) return [];
  return [
    `After ${sft.label} it is ${percent(result.model)}: ${judged(result.verdict)}, compared with ${parent.label}.`,
  ];
}

/**
 * The findings on key-value recall: beyond the base's length, with only theta changed, after SFT, and within the
 * base's length. One sentence says so when it was not measured.
 */
export function findings(data: ReportData): string[] {
  const base = baseOf(data);
  const measured = data.models.filter((model) =>
    data.scores.recall.some((score) => score.task === TASK && score.model === model.name),
  );
  const trained = measured.findLast((model) => model.role === 'stage');
  if (base === undefined || trained === undefined || !measured.includes(base)) {
    return [
      'Recall was not measured for both the base and a trained stage, so there is no effect to report.',
    ];
  }
  const contests = recallLengths(data, TASK).flatMap((at) => contest(data, trained, base, at) ?? []);
  const inside = (entry: Contest) => entry.lengthTokens <= (base.trainedLengthTokens ?? 0);
  const beyond = contests.filter((entry) => !inside(entry));
  const lead = leadingContest(beyond.length > 0 ? beyond : contests);
  if (lead === undefined)
    return ['The base and the trained stages share no samples, so they were not compared.'];
  return [
    leadSentence(lead, trained, base),
    ...otherSentence(contests.filter((entry) => entry !== lead)),
    ...thetaSentence(data, base, lead.lengthTokens),
    ...sftSentence(data, trained, lead.lengthTokens),
    ...fewContextsSentence(contests),
  ];
}
