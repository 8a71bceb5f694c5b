/** Who has a signature over the tip of a run's ledger needs no Temporal server to tell that nothing was rewritten. */
import { generateKeyPairSync } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { readSignature, signAudit } from '../../src/audit/signature.js';
import type { SignedTip } from '../../src/audit/signature.js';
import { checkNamed, useRunUnderAudit } from './audit-support.js';
import { action } from './audited-run.js';

const under = useRunUnderAudit();
const pem = (type: 'ed25519' | 'x25519') => {
  // TypeScript has one overload per type.
  const { publicKey, privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519');
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
};
const { publicKey, privateKey } = pem('ed25519');
let file: Uint8Array;
let signed: SignedTip;

beforeEach(async () => {
  file = signAudit(await under.current.audit(), privateKey);
  signed = readSignature(file, publicKey);
});

const audit = () => under.current.audit('full', undefined, { signed });

describe('a signed run', () => {
  it('is verified without a Temporal server', async () => {
    expect(signed).toMatchObject({ run: 'r', ...under.current.run.run.tip, notChecked: ['Temporal'] });
    const found = await audit();
    expect(found.verdict).toBe('verified');
    expect(checkNamed(found, 'signature').notes).toEqual([
      'what could not be checked when it was signed: Temporal',
    ]);
  });

  it('is different when its whole chain was rewritten, seals and all', async () => {
    const { run } = under.current;
    const entry = action('retryStage', { from: 'head' }, 'eve');
    await under.current.rewrite(run.run, 8, (record) => ({ ...record, entry }));
    expect((await under.current.audit()).verdict).toBe('not-checked');
    expect(under.current.differences(await audit())).toEqual([
      expect.stringMatching(/^signature: ledger\/000014\.json was rewritten/),
    ]);
  });

  it('is not verified when something was added behind what was signed', async () => {
    await under.current.run.run.add(500, action('pause'));
    const found = await audit();
    expect(found.verdict).toBe('not-checked');
    expect(checkNamed(found, 'signature')).toMatchObject({
      state: 'not-checked',
      notes: expect.arrayContaining([
        '1 record behind what was signed: nothing vouches for what they say',
      ]) as string[],
    });
  });

  it('is another one than that of another name', async () => {
    signed = { ...signed, run: 's' };
    expect(under.current.differences(await audit())).toEqual([
      'signature: ledger is of r; the signature is of the run s',
    ]);
  });
});

describe('nothing else is taken for a signature', () => {
  it('not one by another key, of other bytes, or by a key of another kind', () => {
    expect(() => readSignature(file, pem('ed25519').publicKey)).toThrow('not by this key');
    const text = new TextDecoder().decode(file);
    const { payload } = JSON.parse(text) as { payload: string };
    const other = Buffer.from(payload, 'base64').toString().replace('"completed"', '"cancelled"');
    const changed = text.replace(payload, Buffer.from(other).toString('base64'));
    expect(() => readSignature(Buffer.from(changed), publicKey)).toThrow('not of these bytes');
    expect(() => readSignature(Buffer.from('{}'), publicKey)).toThrow(
      'is none that longhaul audit --sign writes',
    );
    expect(() => readSignature(file, pem('x25519').publicKey)).toThrow('no ed25519 public key');
  });

  it('a key that can’t be read is refused without a word of it', async () => {
    const audited = await under.current.audit();
    const broken = privateKey.replace('\n', '\nsecret');
    expect(() => signAudit(audited, broken)).toThrow(
      'The key is no ed25519 private key in PEM without a passphrase.',
    );
    expect(() => signAudit(audited, pem('x25519').privateKey)).toThrow('no ed25519 private key');
  });

  it('a run that differs, or is not over, is not signed', async () => {
    const audited = await under.current.audit();
    expect(() => signAudit({ ...audited, verdict: 'different' }, privateKey)).toThrow('is not signed');
    expect(() => signAudit({ ...audited, state: 'running' }, privateKey)).toThrow('when it is over');
  });
});
