/**
 * A trainer's machine that is full, without rights to make one: a Python whose writes to files fail as on a full disk, or need
 * more memory than the process may have.
 */
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** What a machine has no more of. */
export type Resource = 'disk' | 'memory';

/** Where a worker's jobs run. */
export interface FullMachine {
  /** Environment of the worker whose jobs run on it. */
  readonly environment: Readonly<Record<string, string>>;
  /** There is room again, for jobs that run as for those that come. */
  free(): Promise<void>;
  remove(): Promise<void>;
}

/** What happens to a write while there is no room. Memory is refused by the kernel: the process asks for more than its limit. */
const TROUBLE: Readonly<Record<Resource, readonly string[]>> = {
  disk: ['raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))'],
  memory: ['resource.setrlimit(resource.RLIMIT_AS, (1 << 36, resource.RLIM_INFINITY))', 'bytearray(1 << 37)'],
};

/** A full machine for the jobs that `python` runs. */
export async function fullMachine(python: string, resource: Resource): Promise<FullMachine> {
  const folder = await mkdtemp(join(tmpdir(), `longhaul-full-${resource}-`));
  const flag = join(folder, 'full');
  const wrapper = join(folder, 'bin', 'python');
  await mkdir(dirname(wrapper));
  // Where the packages are is read off the path of the interpreter.
  await symlink(join(dirname(dirname(python)), 'lib'), join(folder, 'lib'));
  await writeFile(flag, '');
  await writeFile(
    join(folder, 'sitecustomize.py'),
    [
      'import errno, os, resource',
      'write = os.pwrite',
      'def pwrite(*given):',
      `    if os.path.exists(${JSON.stringify(flag)}):`,
      ...TROUBLE[resource].map((line) => `        ${line}`),
      '    return write(*given)',
      'os.pwrite = pwrite',
      '',
    ].join('\n'),
  );
  await writeFile(wrapper, `#!/bin/sh\nPYTHONPATH="${folder}:$PYTHONPATH" exec "${python}" "$@"\n`);
  await chmod(wrapper, 0o755);
  return {
    environment: { LONGHAUL_TRAINER_PYTHON: wrapper },
    free: () => rm(flag),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
