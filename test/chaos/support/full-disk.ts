/** A trainer's machine whose disk is full, without rights to mount one: a Python whose writes to files fail as on a full disk. */
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The disk of a worker's jobs. */
export interface FullDisk {
  /** Environment of the worker whose jobs write to it. */
  readonly environment: Readonly<Record<string, string>>;
  /** There is room again, for jobs that run as for those that come. */
  free(): Promise<void>;
  remove(): Promise<void>;
}

/** A full disk for the jobs that `python` runs. */
export async function fullDisk(python: string): Promise<FullDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-disk-'));
  const flag = join(folder, 'full');
  const wrapper = join(folder, 'bin', 'python');
  await mkdir(dirname(wrapper));
  // Where the packages are is read off the path of the interpreter.
  await symlink(join(dirname(dirname(python)), 'lib'), join(folder, 'lib'));
  await writeFile(flag, '');
  await writeFile(
    join(folder, 'sitecustomize.py'),
    [
      'import errno, os',
      'write = os.pwrite',
      'def pwrite(*given):',
      `    if os.path.exists(${JSON.stringify(flag)}):`,
      '        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))',
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
