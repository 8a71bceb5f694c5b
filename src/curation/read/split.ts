/** The held-out split: decided by what a document says, before anything else looks at it. */
import { hash } from 'node:crypto';

/** Separates this use of SHA-256 from others; a new number makes a new split. */
const SALT = 'longhaul.held-out/1\n';
const BITS_48 = 2 ** 48;

/** What a document's text hashes to. Equal texts always fall on the same side of the split. */
export interface DocumentHash {
  /** In [0, 1): compared with the held-out share. */
  readonly fraction: number;
  /** 32 independent bits, for choices among documents that must not depend on the split. */
  readonly choice: number;
}

/** Hashes a document's text (UTF-8): SHA-256 of the salt and the text; its first 48 bits, read as a fraction, decide. */
export function hashDocument(text: string): DocumentHash {
  // One call without an object: hash objects hold native memory until a garbage collection that may be long in coming.
  const digest = hash('sha256', SALT + text, 'buffer');
  return { fraction: digest.readUIntBE(0, 6) / BITS_48, choice: digest.readUInt32BE(8) };
}

/** Whether a document is set aside for evaluation at this share (0 to 1). A larger share holds out a superset. */
export function isHeldOut(hash: DocumentHash, heldOutShare: number): boolean {
  return hash.fraction < heldOutShare;
}
