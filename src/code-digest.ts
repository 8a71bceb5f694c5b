/** Digest of the trainer's sources, which stands for an image's where jobs run from a checkout. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** SHA-256 over the package's modules and its locked requirements, by name. `trainerFolder`: `infra/trainer`. */
export function codeDigest(trainerFolder: string): string {
  const names = readdirSync(join(trainerFolder, 'longhaul_trainer'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.py') || name.endsWith('.json'))
    .map((name) => join('longhaul_trainer', name))
    .sort();
  const hash = createHash('sha256');
  for (const name of [...names, 'requirements.txt']) {
    hash
      .update(`${name}\n`)
      .update(readFileSync(join(trainerFolder, name)))
      .update('\n');
  }
  return `sha256:${hash.digest('hex')}`;
}
