/** What the weights were made from and where everything lies. */
import { folded, gap, GAP_CELL, section, table } from '../elements.js';
import { decimal, integer, length, percent, theta } from '../format.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { ReportData, ReportDataset } from '../../data/report-data.js';

/** RoPE bumps. */
export function bumpSection(data: ReportData): Markup {
  const rows = data.ropeBumps.map((bump) => [
    bump.label,
    `${length(bump.fromLengthTokens)} → ${length(bump.toLengthTokens)}`,
    theta(bump.fromTheta),
    theta(bump.toTheta),
    bump.suggestedTheta === null ? GAP_CELL : theta(bump.suggestedTheta),
    bump.suggestedTheta === null ? GAP_CELL : `${decimal(bump.toTheta / bump.suggestedTheta, 1)} ×`,
  ]);
  const columns = [
    { name: 'For' },
    { name: 'Length, tokens' },
    { name: 'RoPE base before', number: true },
    { name: 'after', number: true },
    { name: 'Dynamic NTK suggests', number: true },
    { name: 'Chosen by suggested', number: true },
  ];
  return section('rope', 'RoPE base', rows.length === 0 ? gap('RoPE bumps') : table(columns, rows));
}

function domainTable({ domains, rows }: ReportDataset): Markup {
  const columns = [
    { name: 'Domain' },
    { name: 'Rows', number: true },
    { name: 'Share', number: true },
    { name: 'Documents', number: true },
    { name: 'Left out', number: true },
    { name: 'Passes', number: true },
  ];
  return table(
    columns,
    domains.map((domain) => [
      domain.name,
      integer(domain.rows),
      percent(domain.rows / rows),
      integer(domain.documents),
      integer(domain.untrainedDocuments),
      decimal(domain.passes, 2),
    ]),
  );
}

function sourceTable({ sources }: ReportDataset): Content {
  if (sources.length === 0) return gap('Sources');
  const columns = [
    { name: 'Source' },
    { name: 'Files', number: true },
    { name: 'Bad files', number: true },
    { name: 'Documents', number: true },
    { name: 'Held out', number: true },
    { name: 'Tokens', number: true },
  ];
  const bad = sources.flatMap(({ source, badFiles }) =>
    badFiles.map(({ path, problem }) => [source, path, problem]),
  );
  return [
    table(
      columns,
      sources.map((source) => [
        source.source,
        integer(source.files),
        integer(source.badFiles.length),
        integer(source.documents),
        integer(source.heldOutDocuments),
        integer(source.tokens),
      ]),
    ),
    bad.length > 0 &&
      table([{ name: 'Source' }, { name: 'Bad file', wrap: true }, { name: 'Problem', wrap: true }], bad),
  ];
}

function datasetPart(dataset: ReportDataset): Markup {
  const readers = dataset.usedBy.length === 0 ? 'read by no step' : `read by ${dataset.usedBy.join(', ')}`;
  const size = `${integer(dataset.rows)} rows of ${length(dataset.sequenceLengthTokens)} tokens, ${readers}`;
  return markup`<h3>${dataset.name} <span class="soft">· ${size}</span></h3>${domainTable(dataset)}${folded('Sources and bad files', sourceTable(dataset))}`;
}

/** The data. */
export function dataSection(data: ReportData): Markup {
  const content = data.datasets.length === 0 ? gap('Datasets') : data.datasets.map(datasetPart);
  return section('data', 'Data', [
    markup`<p class="soft">Passes above 1: the domain’s text was gone through more than once.</p>`,
    content,
  ]);
}

/** Where everything is. */
export function artifactSection(data: ReportData): Markup {
  const rows = data.artifacts.map(({ what, url, digest, of }) => [
    what,
    markup`<code>${url}</code>`,
    digest === null ? GAP_CELL : markup`<code>${digest}</code>${of !== null && ` of ${of}`}`,
  ]);
  const columns = [{ name: 'What' }, { name: 'Where', wrap: true }, { name: 'Digest', wrap: true }];
  return section(
    'artifacts',
    'Where everything is',
    rows.length === 0 ? gap('Artifacts') : table(columns, rows),
  );
}

/** What the numerics depended on. */
export function environmentSection(data: ReportData): Markup {
  const parts = data.environments.map(({ stages, fingerprint }) => {
    const rows = Object.entries(fingerprint)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, markup`<code>${String(value)}</code>`]);
    const fields = table([{ name: 'Field' }, { name: 'Value', wrap: true }], rows);
    return markup`<h3>${stages.join(', ')}</h3>${fields}`;
  });
  return section('environment', 'Environment', parts.length === 0 ? gap('Fingerprints') : parts);
}

/** The recipe, as it was frozen. */
export function recipeSection(data: ReportData): Markup {
  const { preset, digest, resolved } = data.recipe;
  return section('recipe', 'Recipe', [
    markup`<p>Preset <code>${preset ?? 'not recorded'}</code>, digest <code>${digest ?? 'not recorded'}</code>.</p>`,
    resolved === null
      ? gap('The resolved recipe')
      : folded('The resolved recipe', markup`<pre>${JSON.stringify(resolved, null, 2)}</pre>`),
  ]);
}
