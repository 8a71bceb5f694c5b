/** Whether the attempts of a stage can have made the same bits: they share one numerics fingerprint, or who differed. */
import type { Outcome } from '../contracts/index.js';
import type { StageNumerics } from './audit-data.js';
import { partsOfCommitId } from '../contracts/layout.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

type Fingerprint = Outcome['fingerprint'];

/** The stages whose attempts left fingerprints: in their outcome or, where they were killed, in what they committed. */
export function numericsOf(run: GatheredRun): StageNumerics[] {
  return run.stages.flatMap((stage) => {
    const prints = printsOf(stage);
    const [first, ...others] = prints;
    if (first === undefined) return [];
    const differing = others.flatMap(({ epoch, fingerprint }) => {
      const fields = differingFields(first.fingerprint, fingerprint);
      return fields.length === 0 ? [] : [{ epoch, fields }];
    });
    const unknown = stage.attempts.filter(({ ran }) => ran).length - prints.length;
    return [
      {
        folder: stage.folder,
        attempts: prints.length,
        unknown: Math.max(0, unknown),
        identical: differing.length === 0,
        differing,
      },
    ];
  });
}

interface Print {
  readonly epoch: number;
  readonly fingerprint: Fingerprint;
}

function printsOf({ attempts, line }: GatheredStage): Print[] {
  const committed = new Map(
    line.map(({ commit, fingerprint }) => [partsOfCommitId(commit.id).epoch, fingerprint]),
  );
  return attempts.flatMap(({ epoch, outcome }) => {
    const fingerprint = outcome?.fingerprint ?? committed.get(epoch) ?? {};
    return Object.keys(fingerprint).length === 0 ? [] : [{ epoch, fingerprint }];
  });
}

/** Each field in which two fingerprints differ: "cpu threads: 2, not 1". */
function differingFields(first: Fingerprint, other: Fingerprint): string[] {
  const names = [...new Set([...Object.keys(first), ...Object.keys(other)])].sort();
  return names
    .filter((name) => first[name] !== other[name])
    .map((name) => `${name}: ${text(other[name])}, not ${text(first[name])}`);
}

function text(value: Fingerprint[string] | undefined): string {
  return value === undefined ? 'nothing' : String(value);
}
