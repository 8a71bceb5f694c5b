/** The timeline of an audit as rows: one per attempt, operator action, and stage that began or ended. */
import { FAILURES } from '../domain/attempt/failure-class.js';
import { commitIdSchema } from '../contracts/index.js';
import type { EntryOf } from '../domain/ledger/records.js';
import { durationText } from '../domain/run/status-markdown.js';
import { STATE_MARKS, progressUnit } from '../domain/run/words.js';
import { shortDigest } from '../domain/lib/digest.js';
import { firstLine } from '../domain/lib/text.js';
import { partsOfCommitId } from '../contracts/layout.js';
import type { TimelineEntry } from './audit-data.js';

/** A row of the timeline. */
export interface TimelineRow {
  /** One column wide. */
  readonly mark: string;
  /** YYYY-MM-DD */
  readonly day: string;
  /** HH:MM:SS */
  readonly time: string;
  /** Stage folder, "run" or "operator". */
  readonly subject: string;
  readonly text: string;
}

/** So many attempts in a row that ended alike become one row. */
const COLLAPSE_FROM = 4;

/** The rows in order. `all`: none are put together. */
export function timelineRows(timeline: readonly TimelineEntry[], all: boolean): TimelineRow[] {
  const attempts = new AttemptBook(timeline);
  const items = timeline.flatMap((one): Item[] => {
    if (one.entry.type === 'attempt-ended') return [];
    if (one.entry.type === 'attempt-opened') return [attempts.item(one, one.entry)];
    return [{ kind: 'row', row: rowOf(one) }];
  });
  return groups(items, all).map((group) => rowOfGroup(group));
}

type Commit = EntryOf<'attempt-ended'>['commits'][number];

interface AttemptItem {
  readonly kind: 'attempt';
  readonly at: string;
  readonly folder: string;
  /** What its progress is counted in. */
  readonly unit: string;
  readonly opened: EntryOf<'attempt-opened'>;
  readonly ended: EntryOf<'attempt-ended'> | null;
  readonly commits: readonly Commit[];
}
type Item = { readonly kind: 'row'; readonly row: TimelineRow } | AttemptItem;

/** What the whole timeline says of each attempt. */
class AttemptBook {
  readonly #ends = new Map<string, EntryOf<'attempt-ended'>>();
  readonly #units = new Map<string, string>();
  /** Commits that later attempts began at: of a job that was killed, its observer may have missed the last. */
  readonly #begunAt = new Map<string, Commit>();

  constructor(timeline: readonly TimelineEntry[]) {
    for (const { folder, entry } of timeline) {
      if (entry.type === 'attempt-ended') this.#ends.set(keyOf(folder, entry.epoch), entry);
      if (entry.type === 'stage-started') this.#units.set(entry.folder, progressUnit(entry.kind));
      if (entry.type === 'attempt-opened' && entry.from !== null) {
        const { step, epoch } = partsOfCommitId(commitIdSchema.parse(entry.from));
        this.#begunAt.set(keyOf(folder, epoch), { id: entry.from, step });
      }
    }
  }

  item({ at, folder }: TimelineEntry, opened: EntryOf<'attempt-opened'>): AttemptItem {
    const key = keyOf(folder, opened.epoch);
    const ended = this.#ends.get(key) ?? null;
    const recorded = ended?.commits ?? [];
    const missed = this.#begunAt.get(key);
    const isMissed = missed !== undefined && !recorded.some(({ id }) => id === missed.id);
    const commits = isMissed ? [...recorded, missed].toSorted((a, b) => a.step - b.step) : recorded;
    const unit = this.#units.get(folder ?? '') ?? 'step';
    return { kind: 'attempt', at, folder: folder ?? '', unit, opened, ended, commits };
  }
}

function keyOf(folder: string | null, epoch: number): string {
  return `${folder ?? ''} ${epoch}`;
}

type Group = { readonly row: TimelineRow } | { readonly attempts: readonly [AttemptItem, ...AttemptItem[]] };

/** Attempts that follow one another and ended in the same class stand together. */
function groups(items: readonly Item[], all: boolean): Group[] {
  const alike: Group[] = [];
  for (const item of items) {
    const last = alike.at(-1);
    if (item.kind === 'row') alike.push({ row: item.row });
    else if (last !== undefined && 'attempts' in last && isAlike(last.attempts[0], item)) {
      alike[alike.length - 1] = { attempts: [...last.attempts, item] };
    } else alike.push({ attempts: [item] });
  }
  return alike.flatMap((group): Group[] => {
    if ('row' in group) return [group];
    if (!all && group.attempts.length >= COLLAPSE_FROM) return [group];
    return group.attempts.map((attempt) => ({ attempts: [attempt] }));
  });
}

function isAlike(a: AttemptItem, b: AttemptItem): boolean {
  return a.folder === b.folder && a.ended !== null && a.ended.class === b.ended?.class;
}

function rowOfGroup(group: Group): TimelineRow {
  if ('row' in group) return group.row;
  const [first] = group.attempts;
  return {
    mark: first.ended === null ? STATE_MARKS.running : attemptMark(first.ended.class),
    ...instantOf(first.at),
    subject: first.folder,
    text: group.attempts.length === 1 ? attemptText(first) : seriesText(group.attempts),
  };
}

/** A preemption is no failure: the fleet's doing or an operator's, not the job's. */
function attemptMark(failureClass: EntryOf<'attempt-ended'>['class']): string {
  if (failureClass === 'done') return STATE_MARKS.done;
  return FAILURES[failureClass].isFailure ? STATE_MARKS.failed : '↺';
}

function attemptText({ opened, ended, unit, commits }: AttemptItem): string {
  const name = `attempt ${opened.epoch}`;
  const begun = opened.from === null ? 'from the start' : `from ${opened.from}`;
  if (ended === null) return `${name} ${begun}; its end is not recorded`;
  const parts = [
    `${name} ${begun}: ${ended.class} after ${durationText(ended.wallSeconds)}`,
    ended.step > 0 ? `at ${unit} ${ended.step.toLocaleString('en-US')}` : '',
    commitsText(commits),
    ended.node === null ? '' : `on ${ended.node}`,
    firstLine(ended.message),
    firstLine(ended.note),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

function commitsText(commits: readonly Commit[]): string {
  const last = commits.at(-1);
  if (last === undefined) return '';
  return commits.length === 1
    ? `commit at ${last.step}`
    : `${commits.length} commits, the last at ${last.step}`;
}

function seriesText(attempts: readonly [AttemptItem, ...AttemptItem[]]): string {
  const [first] = attempts;
  const last = attempts.at(-1) ?? first;
  const ends = attempts.flatMap(({ ended }) => (ended === null ? [] : [ended]));
  const seconds = ends.reduce((sum, { wallSeconds }) => sum + wallSeconds, 0);
  const commits = attempts.flatMap((attempt) => attempt.commits);
  const parts = [
    `attempts ${first.opened.epoch} to ${last.opened.epoch}: ${attempts.length} × ${first.ended?.class ?? ''} in ${durationText(seconds)}`,
    `at ${first.unit} ${(ends.at(-1)?.step ?? 0).toLocaleString('en-US')} in the end`,
    commitsText(commits),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

/** The row of a record that is no attempt. */
function rowOf({ at, folder, entry }: TimelineEntry): TimelineRow {
  const instant = instantOf(at);
  switch (entry.type) {
    case 'run-opened': {
      const { runId, namespace, recipeDigest } = entry;
      const text = `opened by workflow run ${runId} in ${namespace}, recipe ${shortDigest(recipeDigest)}`;
      return { mark: STATE_MARKS.running, ...instant, subject: 'run', text };
    }
    case 'run-ended':
      return {
        mark: runMark(entry.state),
        ...instant,
        subject: 'run',
        text: withWhy(entry.state, entry.why),
      };
    case 'run-reset':
      return { mark: STATE_MARKS.running, ...instant, subject: 'run', text: resetText(entry) };
    case 'stage-started':
      return { mark: STATE_MARKS.running, ...instant, subject: entry.folder, text: entry.title };
    case 'stage-ended':
      return { mark: STATE_MARKS[entry.result], ...instant, subject: entry.folder, text: resultText(entry) };
    case 'stage-adopted': {
      const text = `adopted ${shortDigest(entry.digest)}: ${entry.why}`;
      return { mark: STATE_MARKS.adopted, ...instant, subject: folder ?? 'run', text };
    }
    case 'action':
      return { mark: '●', ...instant, subject: 'operator', text: actionText(entry) };
    case 'attempt-opened':
    case 'attempt-ended':
      return { mark: ' ', ...instant, subject: folder ?? 'run', text: `attempt ${entry.epoch}` };
  }
}

function resetText({ runId, remembers, why }: EntryOf<'run-reset'>): string {
  const point = remembers === 0 ? 'its start' : `where it was at record ${remembers}`;
  return withWhy(`reset to ${point}; workflow run ${runId} goes on`, why);
}

function runMark(state: string): string {
  return state === 'completed' ? STATE_MARKS.completed : STATE_MARKS.failed;
}

function actionText({ action, actor, actorKind, reason, detail, repeats }: EntryOf<'action'>): string {
  const said = Object.keys(detail).length === 0 ? '' : ` ${JSON.stringify(detail)}`;
  const again = repeats === undefined ? '' : `not done again after the reset, see record ${repeats}: `;
  return `${again}${action}${said} by ${actor} (${actorKind}): ${reason}`;
}

function resultText({ result, why, artifacts }: EntryOf<'stage-ended'>): string {
  const kinds = new Map<string, string[]>();
  for (const { kind, digest } of artifacts) kinds.set(kind, [...(kinds.get(kind) ?? []), digest]);
  const made = [...kinds].map(([kind, digests]) =>
    digests.length === 1
      ? `${kind} ${shortDigest(digests[0] ?? '')}`
      : `${digests.length} ${kind === 'results' ? kind : `${kind}s`}`,
  );
  return [withWhy(result, why), ...made].join(' · ');
}

function withWhy(what: string, why: string): string {
  return why === '' ? what : `${what}: ${firstLine(why)}`;
}

function instantOf(at: string): { readonly day: string; readonly time: string } {
  return { day: at.slice(0, 10), time: at.slice(11, 19) };
}
