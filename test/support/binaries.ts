/** Servers under test: the project's own pinned binaries, put in place by the set-up. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path of a server binary in `.longhaul/bin`. @throws when the set-up has not run. */
export function serverBinary(name: 'temporal' | 'versitygw'): string {
  const path = fileURLToPath(new URL(`../../.longhaul/bin/${name}`, import.meta.url));
  if (!existsSync(path)) throw new Error(`${name} is not there: run "npm run setup" first`);
  return path;
}
