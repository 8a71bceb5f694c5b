/** The report page: one self-contained HTML document, made from `ReportData` and nothing else. */
import { duration, instant, secondsBetween } from './format.js';
import { Markup, markup } from './markup.js';
import type { Content } from './markup.js';
import type { ReportData } from '../data/report-data.js';
import { courseSection, planSection } from './sections/course.js';
import { headlineSection } from './sections/headline.js';
import { lossSection } from './sections/loss.js';
import {
  artifactSection,
  bumpSection,
  dataSection,
  environmentSection,
  recipeSection,
} from './sections/provenance.js';
import { recallSection } from './sections/recall.js';
import { trainingSection } from './sections/training.js';
import { STYLES } from './styles.js';

function facts({ run, recipe, stages, generatedAt }: ReportData): Markup {
  const ends = stages.flatMap((stage) => (stage.endedAt === null ? [] : [stage.endedAt])).sort();
  const seconds = secondsBetween(run.startedAt, ends.at(-1) ?? null);
  const items: Content[] = [
    `Preset ${recipe.preset ?? 'not recorded'}`,
    run.startedAt === null ? null : `Started ${instant(run.startedAt)}`,
    seconds === null ? null : `Took ${duration(seconds)} until the report`,
    `Report made ${instant(generatedAt)}`,
    markup`<code>${run.url}</code>`,
    run.temporalUiUrl === null ? null : markup`<a href="${run.temporalUiUrl}">Run in the Temporal UI</a>`,
  ];
  return markup`<ul class="facts">${items.filter((item) => item !== null).map((item) => markup`<li>${item}</li>`)}</ul>`;
}

function notes(data: ReportData): Content {
  return data.notes.map((note) => markup`<p class="note soft">${note}</p>`);
}

const READING = markup`<footer>
  <p>Intervals of exact answers are Wilson’s at the effective number of questions; those of log-probability and loss are bootstrap
  intervals over contexts or rows, of fewer than six Student’s t, of a single one unknown.
  A verdict compares two models on the samples both answered: “better” or “worse” needs an interval of the difference
  without zero and a sign-flip test below the same error rate; everything else is “not separable”. Each verdict
  stands alone: of twenty comparisons without any true difference, one may err. One run, one seed: how much another
  seed would differ is not in these numbers.</p>
</footer>`;

/** The page as HTML. It loads nothing from anywhere. */
export function renderReport(data: ReportData): string {
  const content = [
    markup`<header><h1>${data.run.name}</h1>${facts(data)}${notes(data)}</header>`,
    headlineSection(data),
    recallSection(data),
    lossSection(data),
    trainingSection(data),
    courseSection(data),
    planSection(data),
    bumpSection(data),
    dataSection(data),
    artifactSection(data),
    environmentSection(data),
    recipeSection(data),
    READING,
  ];
  const head = markup`<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${data.run.name} · Longhaul report</title><style>${new Markup(STYLES)}</style>`;
  const page = markup`<!doctype html><html lang="en"><head>${head}</head><body><main>${content}</main></body></html>`;
  return `${page.text}\n`;
}
