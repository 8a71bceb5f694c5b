import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Tool } from '../../../infra/dev/lib/pins.mjs';
import { TOOLS } from '../../../infra/dev/lib/pins.mjs';
import { obtainTool, sweepTemporaries } from '../../../infra/dev/lib/tools.mjs';

/** A program that says it is that version of the tool. */
const program = (version: string): string => `#!/bin/sh\necho "tool version ${version}"\n`;

describe('a pinned binary', () => {
  let folder = '';
  let server: Server;
  let archive: Buffer = Buffer.alloc(0);
  let requests = 0;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'longhaul-tools-'));
    await mkdir(path.join(folder, 'path'));
    await mkdir(path.join(folder, 'go', 'tool'), { recursive: true });
    archive = await tarball('1.2.3');
    requests = 0;
    server = createServer((_request, response) => {
      requests += 1;
      response.end(archive);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  async function tarball(version: string): Promise<Buffer> {
    const source = await mkdtemp(path.join(folder, 'release-'));
    await writeFile(path.join(source, 'tool'), program(version), { mode: 0o755 });
    await promisify(execFile)('tar', ['-czf', path.join(source, 'tool.tar.gz'), '-C', source, 'tool']);
    return readFile(path.join(source, 'tool.tar.gz'));
  }

  /** Puts a program on the PATH of these tests, which holds `tar` besides. */
  async function onPath(name: string, script: string): Promise<void> {
    await writeFile(path.join(folder, 'path', name), script, { mode: 0o755 });
  }

  /** A `go` that "builds" a program of that version. */
  const go = (version: string): string =>
    ['#!/bin/sh', 'if [ "$1" = env ]; then echo go1.26.0; exit; fi']
      .concat(['while [ "$1" != -o ]; do shift; done', `printf '%s' '${program(version)}' > "$2"`])
      .join('\n');

  function tool(sha256 = createHash('sha256').update(archive).digest('hex'), port = portOf(server)): Tool {
    return {
      name: 'tool',
      version: '1.2.3',
      what: 'a tool',
      versionPattern: /^tool version (\S+)/m,
      releasePage: 'https://releases.invalid/tool',
      archives: { here: { url: `http://127.0.0.1:${String(port)}/tool.tar.gz`, sha256, member: 'tool' } },
      source: {
        module: 'tool.invalid/tool',
        folder: 'tool',
        versionVariable: 'main.Version',
        versionPrefix: '',
        minutes: 'a moment',
      },
    };
  }

  /** A `uv` that "installs" a program of that version, or says that there is no package for this platform. */
  const uv = (version: string | null): string =>
    ['#!/bin/sh', 'if [ "$1" = venv ]; then while [ "$1" != --python ]; do shift; done']
      .concat(['/bin/mkdir -p "$3/bin"; exit; fi'])
      .concat(
        version === null
          ? ['echo "no wheel for this platform"; exit 1']
          : [
              'while [ "$1" != --python ]; do shift; done',
              `printf '%s' '${program(version)}' > "\${2%/*}/tool"`,
            ],
      )
      .join('\n');

  const packaged = (wanted: Tool): Tool => ({ ...wanted, wheel: { requirements: 'tool.txt', megabytes: 1 } });

  const obtain = (wanted: Tool): Promise<{ file: string; how: string }> =>
    obtainTool(wanted, {
      python: { file: '/usr/bin/python', version: '3.11.0', canMakeEnvironments: false },
      env: { PATH: path.join(folder, 'path') },
      binDir: path.join(folder, 'bin'),
      goDir: path.join(folder, 'go'),
      requirementsDir: path.join(folder, 'requirements'),
      logDir: path.join(folder, 'logs'),
      searchPath: path.join(folder, 'path'),
      platform: 'here',
      answerMs: 2000,
    });

  it('is taken from PATH when it is exactly the pinned version', async () => {
    await onPath('tool', program('1.2.3'));
    expect((await obtain(tool())).how).toBe('copied from PATH');
    expect(requests).toBe(0);
  });

  it('is downloaded when PATH has another version', async () => {
    await onPath('tool', program('1.2.4'));
    expect((await obtain(tool())).how).toBe('official release, SHA-256 verified');
  });

  it('is taken from its Python package where it has one, and nothing of that is left but the binary', async () => {
    await onPath('uv', uv('1.2.3'));
    expect((await obtain(packaged(tool()))).how).toBe('Python package, SHA-256 verified');
    expect(requests).toBe(0);
    expect(await readdir(path.join(folder, 'bin'))).toEqual(['tool', 'tool.json']);
  });

  it('is downloaded where its Python package cannot be installed', async () => {
    await onPath('uv', uv(null));
    expect((await obtain(packaged(tool()))).how).toBe('official release, SHA-256 verified');
    expect(await readdir(path.join(folder, 'bin'))).toEqual(['tool', 'tool.json']);
  });

  it('is downloaded where its Python package has another version than it says', async () => {
    await onPath('uv', uv('9.9.9'));
    expect((await obtain(packaged(tool()))).how).toBe('official release, SHA-256 verified');
  });

  it('without a source says what was tried, and nothing of Go', async () => {
    const without = { ...packaged(tool('0'.repeat(64))), source: undefined };
    const failure = await obtain(without).catch((error: unknown) => String(error));
    expect(failure).toMatch(/Python package: .*no venv module.* or uv/);
    expect(failure).toMatch(/Put tool 1\.2\.3 on PATH/);
    expect(failure).not.toMatch(/Go/);
  });

  it('is not looked for again once it is there', async () => {
    await obtain(tool());
    expect((await obtain(tool())).how).toBe('already there');
    expect(requests).toBe(1);
  });

  it('is recognised by its digest when only its time has changed', async () => {
    const { file } = await obtain(tool());
    await utimes(file, 1000, 1000);
    expect((await obtain(tool())).how).toBe('already there');
  });

  it('is made anew when it was tampered with', async () => {
    const { file } = await obtain(tool());
    await appendFile(file, '# tampered\n');
    expect((await obtain(tool())).how).toBe('official release, SHA-256 verified');
    expect(await readFile(file, 'utf8')).toBe(program('1.2.3'));
  });

  it('is never taken from a download with another digest; the next way is tried', async () => {
    await onPath('go', go('1.2.3'));
    const result = await obtain(tool('0'.repeat(64)));
    expect(result.how).toBe('built from source, go.sum verified');
    expect(await readdir(path.join(folder, 'bin'))).toEqual(['tool', 'tool.json']);
  });

  it('is built from source when nobody answers', async () => {
    await onPath('go', go('1.2.3'));
    // No program is given a port below 1024, as one that was free a moment ago may be.
    expect((await obtain(tool(undefined, 1))).how).toBe('built from source, go.sum verified');
  });

  it('is built from source where no release is pinned for the platform', async () => {
    await onPath('go', go('1.2.3'));
    expect((await obtain({ ...tool(), archives: {} })).how).toBe('built from source, go.sum verified');
  });

  it('is refused when it says it is another version than asked for', async () => {
    archive = await tarball('9.9.9');
    await expect(obtain(tool())).rejects.toThrow('the binary says it is version 9.9.9');
    expect(await readdir(path.join(folder, 'bin'))).toEqual([]);
  });

  it('that can be had by no way names the reason of each and what to do', async () => {
    const failure = await obtain({ ...tool('0'.repeat(64)) }).catch((error: unknown) => String(error));
    expect(failure).toMatch(/PATH: not there/);
    expect(failure).toMatch(/official release: the download has SHA-256 [0-9a-f]{64} instead of 0{64}/);
    expect(failure).toMatch(/Go: not installed/);
    expect(failure).toMatch(/put tool 1\.2\.3 on PATH \(https:\/\/releases\.invalid\/tool\)/);
  });

  it('is not built with a Go that is too old', async () => {
    await onPath('go', '#!/bin/sh\necho go1.19.1\n');
    await expect(obtain(tool('0'.repeat(64)))).rejects.toThrow('go1.19.1 is older than 1.25.0');
  });

  it('leaves nothing behind that an interrupted set-up had begun', async () => {
    const bin = path.join(folder, 'bin');
    await mkdir(path.join(bin, '.tmp-tool-1-abc'), { recursive: true });
    await symlink('nowhere', path.join(bin, '.tmp-tool-2-abc'));
    await sweepTemporaries(bin);
    expect(await readdir(bin)).toEqual([]);
  });
});

describe('the pins', () => {
  const file = (name: string) => readFile(new URL(`../../../infra/dev/${name}`, import.meta.url), 'utf8');

  it.each(TOOLS.map((tool) => [tool.name, tool] as const))('of %s are whole', async (_name, tool) => {
    const digests = Object.values(tool.archives).map(({ sha256 }) => sha256);
    expect(new Set(digests).size).toBe(4);
    for (const digest of digests) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    for (const { url } of Object.values(tool.archives)) expect(url).toContain(`/v${tool.version}/`);
    const { source, wheel } = tool;
    expect(source ?? wheel).toBeDefined();
    if (source !== undefined)
      expect(await file(`go/${source.folder}/go.mod`)).toContain(
        `${source.module.split('/cmd/')[0] ?? ''} v${tool.version}`,
      );
    if (wheel !== undefined) {
      const lock = await file(`python/${wheel.requirements}`);
      expect(lock).toContain(`${tool.name}-bin==${tool.version} `);
      // Linux and macOS, on two processors each.
      expect(lock.match(/--hash=sha256:[0-9a-f]{64}/g)).toHaveLength(4);
    }
  });
});

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen');
  return address.port;
}
