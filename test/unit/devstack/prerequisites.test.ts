import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAtLeast, parseVersion } from '../../../infra/dev/lib/versions.mjs';
import { checkPrerequisites } from '../../../infra/dev/setup.mjs';

describe('versions', () => {
  it.each([
    ['v20.19.0', [20, 19, 0]],
    ['go1.26', [1, 26, 0]],
    ['3.13.0rc2', [3, 13, 0]],
  ])('are found in %s', (text, numbers) => {
    expect(parseVersion(text)).toEqual(numbers);
  });

  it.each([
    ['20.19.0', true],
    ['20.20.0', true],
    ['22.0.0', true],
    ['20.18.9', false],
    ['18.99.0', false],
    ['no version', false],
  ])('compare by number, not by letter: %s', (version, enough) => {
    expect(isAtLeast(version, '20.19.0')).toBe(enough);
  });
});

describe('what has to be there beforehand', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'longhaul-path-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** A program that claims to be a Python of that version. */
  async function fakePython(name: string, version: string): Promise<void> {
    const file = path.join(folder, name);
    const answer = JSON.stringify({ version, file, venv: true });
    await writeFile(file, `#!/bin/sh\necho '${answer}'\n`);
    await chmod(file, 0o755);
  }

  const goodMachine = { node: '20.19.0', platform: 'linux' };

  it('is named all at once, each with the way to get it', async () => {
    const { problems } = await checkPrerequisites({ PATH: folder }, { node: '18.20.0', platform: 'linux' });
    expect(problems).toEqual([
      expect.stringMatching(/Node 20\.19\.0 or newer is needed, this is 18\.20\.0.*nodejs\.org/),
      expect.stringMatching(/Python 3\.11 or newer is missing.*python\.org.*LONGHAUL_PYTHON/),
    ]);
  });

  it('is nothing on a machine that has it', async () => {
    await fakePython('python3', '3.12.4');
    const { problems, python } = await checkPrerequisites({ PATH: folder }, goodMachine);
    expect(problems).toEqual([]);
    expect(python?.version).toBe('3.12.4');
  });

  it('is a Python that is new enough, whatever its name', async () => {
    await fakePython('python3', '3.9.2');
    await fakePython('python3.13', '3.13.1');
    expect((await checkPrerequisites({ PATH: folder }, goodMachine)).python?.version).toBe('3.13.1');
  });

  it('passes by a Python that does not run', async () => {
    await writeFile(path.join(folder, 'python3.11'), '#!/bin/sh\nexit 127\n');
    await chmod(path.join(folder, 'python3.11'), 0o755);
    await fakePython('python3.12', '3.12.1');
    expect((await checkPrerequisites({ PATH: folder }, goodMachine)).python?.version).toBe('3.12.1');
  });

  it('says which Pythons are too old', async () => {
    await fakePython('python3', '3.9.2');
    const { problems } = await checkPrerequisites({ PATH: folder }, goodMachine);
    expect(problems).toEqual([expect.stringContaining('python3 is 3.9.2')]);
  });

  it('takes the Python that LONGHAUL_PYTHON names, and no other', async () => {
    await fakePython('python3', '3.12.4');
    await fakePython('mine', '3.9.0');
    const environment = { PATH: folder, LONGHAUL_PYTHON: path.join(folder, 'mine') };
    const { problems } = await checkPrerequisites(environment, goodMachine);
    expect(problems).toEqual([expect.stringMatching(/LONGHAUL_PYTHON=.*is 3\.9\.0/)]);
  });

  it('is WSL on Windows', async () => {
    await fakePython('python3', '3.12.4');
    const { problems } = await checkPrerequisites({ PATH: folder }, { node: '22.0.0', platform: 'win32' });
    expect(problems).toEqual([expect.stringContaining('WSL')]);
  });
});
