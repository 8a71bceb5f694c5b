import { execa } from 'execa';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseUrl } from '../../src/contracts/layout.js';
import { useRunUnderAudit } from './audit-support.js';
import { flipBit } from './support.js';

const under = useRunUnderAudit();
const LONGHAUL = fileURLToPath(new URL('../../bin/longhaul.mjs', import.meta.url));
let environment: Record<string, string>;

beforeEach(() => {
  const { server, run } = under.current;
  const { bucket, key } = parseUrl(run.runUrl);
  environment = {
    ...server.environment,
    LONGHAUL_S3_BUCKET: bucket,
    LONGHAUL_S3_PREFIX: key.replace(/\/runs\/r$/, ''),
    // Nobody listens there.
    LONGHAUL_TEMPORAL_ADDRESS: '127.0.0.1:1',
    NODE_NO_WARNINGS: '1',
  };
});

async function longhaul(...args: readonly string[]) {
  return execa(process.execPath, [LONGHAUL, 'audit', ...args], { env: environment, reject: false });
}

describe('longhaul audit', () => {
  it('audits a run by its name, without a Temporal server, and exits with 3: that is not checked', async () => {
    const { stdout, exitCode } = await longhaul('r');
    expect(stdout).toContain('Not verified: nothing differs, as far as was checked. Not checked: Temporal.');
    expect(stdout).toMatch(
      /–  Temporal +the history was not read: No Temporal server answers at 127\.0\.0\.1:1/,
    );
    expect(exitCode).toBe(3);
  });

  it('signs what it has audited, and exits with 0 when the signature holds', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'longhaul-sign-'));
    const file = (name: string): string => join(folder, name);
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    await writeFile(file('key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(file('key.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    const signature = ['--offline', '--quick', '--signature', file('r.sig')];
    const signing = await longhaul('r', '--sign', file('key.pem'), ...signature);
    expect([signing.exitCode, signing.stderr]).toEqual([3, `Signed: ${file('r.sig')}`]);
    const verifying = await longhaul('r', '--verify', file('key.pub'), ...signature);
    expect([verifying.exitCode, verifying.stdout]).toEqual([0, expect.stringContaining('✓ Verified')]);
    const missing = await longhaul('r', '--verify', file('none.pub'), ...signature);
    expect([missing.exitCode, missing.stderr]).toEqual([2, expect.stringContaining('can’t be read')]);
    await rm(folder, { recursive: true });
  });

  it('exits with 1 when something differs, and names it', async () => {
    const { server, run } = under.current;
    await flipBit(server.fileOf(`${run.model.url}/model.safetensors`));
    const { stdout, exitCode } = await longhaul(run.runUrl, '--offline');
    expect(stdout).toContain(
      `      ${run.model.url}\n        model.safetensors: bytes 0 to 349 do not match their digest`,
    );
    expect(exitCode).toBe(1);
  });

  it('prints JSON for machines', async () => {
    const { stdout, exitCode } = await longhaul('r', '--json', '--offline', '--quick');
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'longhaul.audit/1',
      run: 'r',
      verdict: 'not-checked',
      level: 'quick',
      state: 'completed',
    });
    expect(exitCode).toBe(3);
  });

  it('says in one sentence that there is no such run, or that the store did not answer', async () => {
    const none = await longhaul('nobody', '--offline');
    expect([none.stderr, none.exitCode]).toEqual([
      `There is no run at ${under.current.run.runUrl.replace(/r$/, 'nobody')}.`,
      2,
    ]);
    environment['LONGHAUL_S3_BUCKET'] = 'no-such-bucket';
    const { stderr, exitCode } = await longhaul('r', '--offline');
    expect(stderr).toMatch(/^The audit was broken off, which says nothing about the run\. .*NoSuchBucket$/);
    expect(exitCode).toBe(2);
  });
});
