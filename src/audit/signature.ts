/**
 * A detached signature over how far a run's ledger goes. Everything that the run has made hangs on the last record of its chain:
 * whoever has the signer's public key needs no Temporal server to tell that nothing was rewritten since.
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { DIGEST } from '../domain/lib/digest.js';
import { tipProblem } from '../domain/ledger/chain.js';
import { runLayout } from '../contracts/layout.js';
import { encodeJson } from '../store/object-store.js';
import { checkOf } from './audit-data.js';
import type { Audit, Check } from './audit-data.js';
import { count } from './chains.js';
import type { GatheredRun } from './gathered.js';

/** What is signed. */
const statementSchema = z.strictObject({
  schema: z.literal('longhaul.signed-tip/1'),
  run: z.string().min(1),
  records: z.int().positive().describe("Records of the run's chain"),
  tip: z.string().regex(DIGEST).describe('SHA-256 of the last of them'),
  state: z.string().describe('How the run had ended'),
  level: z.enum(['full', 'quick']).describe('How thoroughly it was audited before it was signed'),
  notChecked: z.array(z.string()).describe('Checks that could not be made then'),
  auditedAt: z.iso.datetime(),
});
export type SignedTip = z.infer<typeof statementSchema>;

/** The signature's file. */
const fileSchema = z.strictObject({
  schema: z.literal('longhaul.signature/1'),
  payload: z.base64().describe('The bytes that are signed: a statement as JSON'),
  signature: z.base64().describe('Ed25519, of those bytes'),
});

/** A key or a signature that can't be used, or an audit that is not to be signed. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError';
}

/** The file of the signature over an audited run. @throws SignatureError when the run differs, is not over, or the key is none. */
export function signAudit(audit: Audit, privateKeyPem: string): Uint8Array {
  const { run, state, level, auditedAt, checks, verdict, ledger } = audit;
  if (verdict === 'different') throw new SignatureError('A run that differs from its ledger is not signed.');
  if (state === 'running') throw new SignatureError('A run is signed when it is over.');
  const notChecked = checks.filter((check) => check.state === 'not-checked').map(({ name }) => name);
  const statement: SignedTip = statementSchema.parse({
    schema: 'longhaul.signed-tip/1',
    run,
    ...ledger,
    state,
    level,
    notChecked,
    auditedAt,
  });
  const payload = encodeJson(statement);
  const signature = sign(
    null,
    payload,
    ed25519(() => createPrivateKey(privateKeyPem), 'private'),
  );
  const file = { payload: Buffer.from(payload).toString('base64'), signature: signature.toString('base64') };
  return encodeJson({ schema: 'longhaul.signature/1', ...file });
}

/** What a file says, if its signature is by this key. @throws SignatureError */
export function readSignature(file: Uint8Array, publicKeyPem: string): SignedTip {
  const key = ed25519(() => createPublicKey(publicKeyPem), 'public');
  const parsed = fileSchema.safeParse(jsonIn(file));
  if (!parsed.success)
    throw new SignatureError('The signature’s file is none that longhaul audit --sign writes.');
  const payload = Buffer.from(parsed.data.payload, 'base64');
  if (!verify(null, payload, key, Buffer.from(parsed.data.signature, 'base64')))
    throw new SignatureError('The signature is not by this key, or not of these bytes.');
  const statement = statementSchema.safeParse(jsonIn(payload));
  if (!statement.success) throw new SignatureError('What is signed is no statement about a run’s ledger.');
  return statement.data;
}

function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
}

/** What Node says of a key that it can't read may quote it: that is not passed on. */
function ed25519(read: () => KeyObject, kind: 'private' | 'public'): KeyObject {
  const key = readable(read);
  if (key?.asymmetricKeyType !== 'ed25519')
    throw new SignatureError(`The key is no ed25519 ${kind} key in PEM without a passphrase.`);
  return key;
}

function readable(read: () => KeyObject): KeyObject | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** The run's chain still holds what was signed, and nothing behind it. */
export function checkSignature({ run, runUrl, chain }: GatheredRun, signed: SignedTip): Check {
  const object = runLayout(runUrl).ledger;
  const { records, tip, auditedAt, notChecked, level } = signed;
  const summary = `signed on ${auditedAt} at record ${records}, after ${level === 'full' ? 'a full' : 'a quick'} audit`;
  if (signed.run !== run)
    return checkOf('signature', summary, [
      { object, message: `is of ${run}; the signature is of the run ${signed.run}` },
    ]);
  const problem = tipProblem(chain, { records, tip });
  const rewritten =
    problem === null ? [] : [{ object: `${object}/${problem.object}`, message: problem.message }];
  const more = chain.tip.records - records;
  const notes = [
    ...(notChecked.length === 0
      ? []
      : [`what could not be checked when it was signed: ${notChecked.join(', ')}`]),
    ...(more > 0
      ? [`${count(more, 'record')} behind what was signed: nothing vouches for what they say`]
      : []),
  ];
  const check = checkOf('signature', summary, rewritten, notes);
  return more > 0 && problem === null ? { ...check, state: 'not-checked' } : check;
}
