/**
 * The workflow code as one bundle, built once per version of it in a process of its own: the bundler needs more memory
 * than the worker has any use for, and a second start of the worker needs no bundling at all.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Everything that can end up in the bundle. */
const SOURCES = ['workflows', 'src/domain', 'src/contracts', 'package-lock.json'];

/** Path of the bundle of the current workflow code, built if it isn't there yet. */
export async function workflowBundle(cacheFolder: string): Promise<{ codePath: string }> {
  const codePath = join(cacheFolder, `workflow-bundle-${await sourceDigest()}.js`);
  if (!existsSync(codePath)) {
    await execa(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url), codePath], {
      cwd: root,
    });
  }
  return { codePath };
}

async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    for (const file of await filesOf(join(root, source))) {
      hash
        .update(file.slice(root.length))
        .update('\0')
        .update(await readFile(file))
        .update('\0');
    }
  }
  return hash.digest('hex').slice(0, 16);
}

async function filesOf(path: string): Promise<string[]> {
  if (!path.endsWith('.json')) {
    const entries = await readdir(path, { withFileTypes: true, recursive: true });
    return entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  }
  return [path];
}

/** Bundles the workflow code to a file, whole or not at all. */
async function build(codePath: string): Promise<void> {
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows', 'index.ts'),
    payloadConverterPath: join(root, 'workflows', 'payload-converter.ts'),
    failureConverterPath: join(root, 'workflows', 'failure-converter.ts'),
    logger: { trace: drop, debug: drop, info: drop, log: drop, warn: report, error: report },
  });
  await mkdir(dirname(codePath), { recursive: true });
  const temporary = `${codePath}.${process.pid}`;
  await writeFile(temporary, code);
  await rename(temporary, codePath);
}

function drop(): void {
  // The bundler's chatter.
}

function report(...parts: unknown[]): void {
  console.error(...parts);
}

const target = process.argv[2];
if (process.argv[1] === fileURLToPath(import.meta.url) && target !== undefined) await build(target);
