import { describe, expect, it } from 'vitest';
import {
  RUN_OBJECT_NAMES,
  checkpointIn,
  formatCommitId,
  isBelow,
  ledgerRecordUrl,
  manifestUrl,
  modelLayout,
  objectUrl,
  partsOfCommitId,
  pathBelow,
  prefixOf,
  rootLayout,
  rootOfRun,
  rootOfStage,
  runIn,
  runLayout,
  runObjectOf,
  stageLayout,
  stageOf,
} from '../../../src/contracts/layout.js';
import { digestSchema, epochSchema } from '../../../src/contracts/index.js';

const ROOT = 's3://bucket/longhaul/dev';
const RUN = `${ROOT}/runs/tiny.1`;
const STAGE = `${RUN}/stages/02-stage-1`;
const DIGEST = digestSchema.parse(`sha256:${'0123456789abcdef'.repeat(4)}`);
const epoch = epochSchema.parse(3);
const commit = formatCommitId(40, epoch, '0a1b2c3d');

/** Every key that is built from values, spelt out: what lies in a store is found under these bytes and no others. */
describe('the layout of the store', () => {
  it('has the keys below the root that it always had', () => {
    const { dataset, model, run, sharedResult, ...prefixes } = rootLayout(ROOT);
    expect(prefixes).toEqual({
      datasets: `${ROOT}/datasets`,
      runs: `${ROOT}/runs`,
      probes: `${ROOT}/.probes`,
    });
    expect(dataset('stage-1.0123456789ab')).toBe(`${ROOT}/datasets/stage-1.0123456789ab`);
    expect(model('base-tiny', DIGEST)).toBe(`${ROOT}/models/base-tiny.0123456789ab`);
    expect(run('tiny.1')).toBe(RUN);
    expect(sharedResult(DIGEST)).toBe(`${ROOT}/results/0123456789ab.json`);
    expect(modelLayout(model('m', DIGEST))).toEqual({
      manifest: `${ROOT}/models/m.0123456789ab/manifest.json`,
      config: `${ROOT}/models/m.0123456789ab/config.json`,
      tokenizer: `${ROOT}/models/m.0123456789ab/tokenizer.json`,
    });
  });

  it('has the keys below a run that it always had', () => {
    const { stage, ...objects } = runLayout(RUN);
    expect(objects).toEqual({
      recipe: `${RUN}/recipe.json`,
      owner: `${RUN}/owner.json`,
      ledger: `${RUN}/ledger`,
      stages: `${RUN}/stages`,
      report: `${RUN}/report/index.html`,
      reportData: `${RUN}/report/data.json`,
      drill: `${RUN}/drill/report.json`,
      drillText: `${RUN}/drill/report.txt`,
    });
    expect(stage('02-stage-1')).toBe(STAGE);
    expect(ledgerRecordUrl(objects.ledger, 12)).toBe(`${RUN}/ledger/000012.json`);
  });

  it('has the keys below a stage that it always had', () => {
    const urls = stageLayout(STAGE);
    const id = '00000040-0003-0a1b2c3d';
    expect(commit).toBe(id);
    expect([
      ...[urls.spec, urls.specOf(0), urls.specOf(2), urls.head, urls.lease, urls.ledger, urls.config],
      ...[urls.bump, urls.result, urls.results, urls.checkpoints, urls.checkpoint(commit)],
      ...[urls.manifest(commit), urls.quarantine(commit), urls.pins(commit), urls.pin(commit, 'best')],
      ...[urls.attempts, urls.attempt(epoch), urls.attemptFile(epoch), urls.events(epoch)],
      ...[urls.eventFile(epoch, 7), urls.outcome(epoch), urls.log(epoch), urls.exports, urls.export(commit)],
      ...[urls.recordsRoot, urls.records('needle-1024'), urls.record('needle-1024', '0003')],
    ]).toEqual(
      [
        ...['spec.json', 'spec.json', 'spec-2.json', 'HEAD', 'lease.json', 'ledger', 'config.json'],
        ...['bump.json', 'result.json', 'results.json', 'checkpoints', `checkpoints/${id}`],
        ...['manifest.json', 'quarantine.json', 'pins', 'pins/best.json'].map(
          (name) => `checkpoints/${id}/${name}`,
        ),
        ...['attempts', 'attempts/0003', 'attempts/0003/attempt.json', 'attempts/0003/events'],
        ...['attempts/0003/events/000007.json', 'attempts/0003/outcome.json', 'attempts/0003/log.txt'],
        ...['export', `export/${id}`, 'records', 'records/needle-1024', 'records/needle-1024/0003.json'],
      ].map((path) => `${STAGE}/${path}`),
    );
    expect(urls.attempt(epochSchema.parse(12345))).toBe(`${STAGE}/attempts/12345`);
  });

  it('knows every object of a run by the key that it gives it', () => {
    const run = runLayout(RUN);
    const stage = stageLayout(STAGE);
    const urls = {
      recipe: run.recipe,
      owner: run.owner,
      'run-record': ledgerRecordUrl(run.ledger, 1),
      report: run.report,
      'report-data': run.reportData,
      drill: run.drill,
      spec: stage.specOf(1),
      head: stage.head,
      lease: stage.lease,
      'stage-record': ledgerRecordUrl(stage.ledger, 1),
      config: stage.config,
      bump: stage.bump,
      result: stage.result,
      results: stage.results,
      'checkpoint-manifest': stage.manifest(commit),
      quarantine: stage.quarantine(commit),
      pin: stage.pin(commit, 'best'),
      'foreign-pin': stage.pin(commit, 'adopted-by-0123456789ab'),
      'checkpoint-file': objectUrl(stage.checkpoint(commit), 'optimizer/rank-0.pt'),
      attempt: stage.attemptFile(epoch),
      events: stage.eventFile(epoch, 1),
      outcome: stage.outcome(epoch),
      log: stage.log(epoch),
      'export-manifest': manifestUrl(stage.export(commit)),
      'export-file': objectUrl(stage.export(commit), 'model.safetensors'),
      'evaluation-record': stage.record('needle-1024', '0003'),
    };
    for (const [kind, url] of Object.entries(urls)) expect(runObjectOf(pathBelow(RUN, url))).toBe(kind);
    expect(Object.keys(urls)).toEqual(RUN_OBJECT_NAMES);
    expect(runObjectOf(pathBelow(RUN, run.drillText))).toBe('drill');
  });

  it('finds its way back', () => {
    const urls = stageLayout(STAGE);
    expect(runIn(RUN)).toBe('tiny.1');
    expect(rootOfRun(RUN)).toBe(ROOT);
    expect(rootOfStage(STAGE)).toBe(ROOT);
    expect([stageOf(urls.head), stageOf(urls.manifest(commit))]).toEqual([STAGE, STAGE]);
    expect([stageOf(STAGE), stageOf(`${ROOT}/models/m/config.json`)]).toEqual([null, null]);
    expect([prefixOf(urls.manifest(commit)), prefixOf(STAGE)]).toEqual([urls.checkpoint(commit), STAGE]);
    expect(checkpointIn(urls.checkpoint(commit))).toEqual({ stageUrl: STAGE, commit });
    expect(checkpointIn(urls.manifest(commit))).toBeNull();
    expect(partsOfCommitId(commit)).toEqual({ step: 40, epoch: 3 });
    expect([isBelow(RUN, STAGE), isBelow(RUN, RUN), isBelow(RUN, `${RUN}-2/x`)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});
