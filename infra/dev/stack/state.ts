/**
 * What is remembered of the stack between two starts: who runs it, and its ports. Not its processes: those are found by their
 * command lines (`running.ts`), which tell of them from their first moment on.
 */
import path from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from '../lib/files.mjs';
import { processIdentitySchema } from './server-process.js';

/** Ports of the stack. */
export interface StackPorts {
  readonly temporal: number;
  readonly ui: number;
  readonly s3: number;
}

const port = z.int().min(0).max(65_535);

const stateSchema = z.strictObject({
  schema: z.literal('longhaul.stack/2'),
  owner: processIdentitySchema.nullable().describe('Who starts and stops the servers; null: nobody now'),
  ports: z.strictObject({ temporal: port, ui: port, s3: port }).describe('0: none yet'),
});

/** What is remembered. */
export type StackState = Omit<z.infer<typeof stateSchema>, 'schema'>;

const fileOf = (dataDir: string): string => path.join(dataDir, 'stack.json');

/** What is remembered of the stack of a folder; undefined when it has had none. */
export async function readState(dataDir: string): Promise<StackState | undefined> {
  return stateSchema.safeParse(await readJson(fileOf(dataDir))).data;
}

/** Remembers. */
export async function writeState(dataDir: string, { owner, ports }: StackState): Promise<void> {
  await writeJson(fileOf(dataDir), { schema: 'longhaul.stack/2', owner, ports });
}
