/**
 * Processes of this machine by their command lines. What is started here names its data folder there, so that it can be
 * found from its first moment on, whatever became of who started it.
 */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { run } from '../lib/processes.mjs';

/** A running process. */
export interface TableEntry {
  readonly pid: number;
  /** Program and arguments, joined by spaces. */
  readonly command: string;
  /** User that it runs as. */
  readonly uid: number;
}

/** Every process that runs now and can be seen. Ended ones that nobody has waited for are not among them. */
export async function processTable(): Promise<readonly TableEntry[]> {
  return process.platform === 'linux' ? tableOnLinux() : tableFromPs();
}

function tableOnLinux(): readonly TableEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => entryOnLinux(Number(name)));
}

/** The entry of a process; empty when it ends meanwhile, and for a zombie, which has no command line. */
function entryOnLinux(pid: number): readonly TableEntry[] {
  const folder = `/proc/${String(pid)}`;
  try {
    const command = readFileSync(`${folder}/cmdline`, 'utf8').replace(/\0$/, '').replaceAll('\0', ' ');
    return command === '' ? [] : [{ pid, command, uid: statSync(folder).uid }];
  } catch {
    return [];
  }
}

async function tableFromPs(): Promise<readonly TableEntry[]> {
  const { output } = await run('ps', ['-axww', '-o', 'pid=,uid=,command=']);
  return output.split('\n').flatMap((line) => {
    const [, pid, uid, command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return pid === undefined ? [] : [{ pid: Number(pid), uid: Number(uid), command }];
  });
}
