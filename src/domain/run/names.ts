/** Names of runs and jobs: readable, deterministic, safe as folder names, Kubernetes labels and Slurm job names alike. */
import { sha256OfText } from '../lib/digest.js';

/** What a run's name, which is its workflow id, may be made of. */
export const RUN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Name of a checkpoint: `<step, 8 digits>-<epoch, 4 digits>-<nonce, 8 hex digits>`. */
export const COMMIT_ID = /^\d{8}-\d{4,}-[0-9a-f]{8}$/;

/** Longest job name: a Kubernetes label. */
const LONGEST = 63;

/** An attempt's number as names have it, with 4 digits or more. */
export function epochText(epoch: number): string {
  return String(epoch).padStart(4, '0');
}

/** Name of the job of one attempt. Long run names are cut and told apart by a digest. */
export function jobName(run: string, folder: string, epoch: number): string {
  const name = `${run}.${folder}.${epochText(epoch)}`;
  if (name.length <= LONGEST) return name;
  const digest = sha256OfText(run).slice('sha256:'.length, 'sha256:'.length + 8);
  const rest = name.length - run.length + digest.length + 1;
  return `${run.slice(0, Math.max(1, LONGEST - rest))}-${digest}${name.slice(run.length)}`;
}
