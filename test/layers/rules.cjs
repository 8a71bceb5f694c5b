/**
 * The rooms of the house and what each may import (docs/architecture.md). Every rule has a fixture under
 * `fixtures/<rule>/` that breaks it, and `check.mjs` fails when one of them goes unnoticed.
 */

/** A rule that a room imports nothing but the rooms listed. */
function onlyFrom(name, room, allowed, comment) {
  return {
    name,
    comment,
    severity: 'error',
    from: { path: `^${room}` },
    to: {
      path: '^(workflows|activities|src|infra|test|bin)/',
      pathNot: allowed.map((path) => `^${path}`),
    },
  };
}

/** @type {import('dependency-cruiser').IForbiddenRuleType[]} */
const rules = [
  {
    name: 'no-cycles',
    comment: 'A cycle has no layer.',
    severity: 'error',
    from: {},
    to: { circular: true },
  },
  {
    name: 'domain-is-pure',
    comment: 'src/domain runs inside the workflow sandbox too: no Node built-ins.',
    severity: 'error',
    from: { path: '^src/domain/' },
    to: { dependencyTypes: ['core'] },
  },
  {
    name: 'contracts-are-pure',
    comment: 'Contracts are bundled with the workflows that use them: no Node built-ins, no library but zod.',
    severity: 'error',
    from: { path: '^src/contracts/' },
    to: { dependencyTypes: ['core', 'npm'], pathNot: 'node_modules/zod/' },
  },
  {
    name: 'workflows-are-deterministic',
    comment: 'Workflow code has no Node built-ins and no client libraries.',
    severity: 'error',
    from: { path: '^workflows/' },
    to: { dependencyTypes: ['core', 'npm'], pathNot: 'node_modules/(@temporalio/(workflow|common)|zod)/' },
  },
  {
    name: 'workflows-take-only-types-of-activities',
    comment: 'A value import would bundle activity code into the sandbox.',
    severity: 'error',
    from: { path: '^workflows/' },
    to: { path: '^activities/', dependencyTypesNot: ['type-only'] },
  },
  onlyFrom(
    'workflows-import-domain',
    'workflows/',
    ['workflows/', 'activities/', 'src/domain/', 'src/contracts/'],
    'Workflows know the domain, the contracts and the types of activities.',
  ),
  onlyFrom(
    'activities-import-src',
    'activities/',
    ['activities/', 'src/(domain|contracts|store|backends|curation|report|temporal|telemetry|config)'],
    'Activities know no workflow, no entry point.',
  ),
  onlyFrom('domain-imports-nothing-above', 'src/domain/', ['src/domain/'], 'The domain is the bottom.'),
  onlyFrom(
    'contracts-import-domain',
    'src/contracts/',
    ['src/contracts/', 'src/domain/'],
    'Contracts know the domain.',
  ),
  onlyFrom(
    'store-imports-domain',
    'src/store/',
    ['src/store/', 'src/domain/', 'src/contracts/'],
    'The store knows what it stores, not why.',
  ),
  onlyFrom(
    'backends-import-domain',
    'src/backends/',
    ['src/backends/', 'src/domain/'],
    'A backend knows nothing about training.',
  ),
  onlyFrom(
    'curation-imports-store',
    'src/curation/',
    ['src/curation/', 'src/domain/', 'src/contracts/', 'src/store/'],
    'Curation writes through the store.',
  ),
  onlyFrom(
    'drill-imports-store',
    'src/drill/',
    ['src/drill/', 'src/domain/', 'src/contracts/', 'src/store/', 'src/backends/'],
    'A drill knows the store and the backend; how runs are started it is told.',
  ),
  onlyFrom(
    'report-imports-contracts',
    'src/report/',
    ['src/report/', 'src/domain/', 'src/contracts/'],
    'The report is rendered from data alone.',
  ),
  onlyFrom(
    'temporal-imports-domain',
    'src/temporal/',
    ['src/temporal/', 'src/domain/', 'src/config'],
    'What is asked of the server knows the configuration, and no one who asks.',
  ),
  onlyFrom(
    'audit-imports-store',
    'src/audit/',
    ['src/audit/', 'src/domain/', 'src/contracts/', 'src/store/'],
    'An audit reads what a run has left; it shares no code with what made it.',
  ),
];

module.exports = { rules };
