/** Credentials of the embedded S3 server: made once per data folder, readable by its owner only. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from '../lib/files.mjs';

const credentialsSchema = z.strictObject({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
});

/** Root credentials of the S3 server. */
export type S3Credentials = z.infer<typeof credentialsSchema>;

/** The folder's credentials; made when there are none. */
export async function loadCredentials(dataDir: string): Promise<S3Credentials> {
  const file = path.join(dataDir, 'credentials.json');
  const stored = credentialsSchema.safeParse(await readJson(file));
  if (stored.success) return stored.data;
  const fresh = {
    accessKeyId: `longhaul-${randomBytes(6).toString('hex')}`,
    secretAccessKey: randomBytes(30).toString('base64url'),
  };
  await writeJson(file, fresh, 0o600);
  return fresh;
}
