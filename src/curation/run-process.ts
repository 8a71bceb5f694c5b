/** Curation in a process of its own (process.ts), as a worker runs it. */
import { execaNode } from 'execa';
import { fileURLToPath } from 'node:url';
import type { CurationProgress } from './curate.js';
import { inheritedEnvironment } from '../domain/inherited-environment.mjs';
import { ANSWER_CLASSES } from '../store/answers.js';
import { StoreError } from '../store/errors.js';
import type { StoreErrorCode } from '../store/errors.js';
import { CurationError, CurationProcessError } from './errors.js';
import { curationAnswerSchema } from './process-messages.js';
import type { CurationAnswer, CurationRequest, CuratedInProcess } from './process-messages.js';

const ENTRY = fileURLToPath(new URL('process.ts', import.meta.url));
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
/** Time a process has to end in after SIGTERM, before it gets SIGKILL. */
const GRACE_MS = 5_000;

/**
 * Curates one dataset, as `curateDataset` does.
 * @throws CurationError as it does; CurationProcessError when the process ends without an answer; the reason of `signal`;
 * StoreError as the store has it; anything else as an error of the same name and message.
 */
export async function curateInProcess(
  request: CurationRequest,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: CurationProgress) => void },
): Promise<CuratedInProcess> {
  const child = execaNode(ENTRY, {
    nodeOptions: ['--import', 'tsx'],
    cwd: PROJECT,
    extendEnv: false,
    env: {
      ...inheritedEnvironment(process.env),
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    },
    serialization: 'json',
    ipcInput: request,
    buffer: { ipc: false },
    stdin: 'ignore',
    stderr: ['pipe', 'inherit'],
    cancelSignal: signal,
    forceKillAfterDelay: GRACE_MS,
    reject: false,
  });
  let last: CurationAnswer | undefined;
  for await (const message of child.getEachMessage()) {
    last = curationAnswerSchema.parse(message);
    if (last.type === 'progress') onProgress(last.progress);
  }
  const { shortMessage, stderr } = await child;
  signal.throwIfAborted();
  switch (last?.type) {
    case 'curated':
      return last.curated;
    case 'failed':
      throw errorOf(last);
    case 'progress':
    case undefined:
      throw new CurationProcessError(shortMessage ?? 'it ended without an answer', stderr);
  }
}

/** The error as it was, as far as anybody decides by it. */
function errorOf(answer: Extract<CurationAnswer, { type: 'failed' }>): Error {
  const { name, message, failureClass, store, system } = answer;
  if (failureClass !== null) return new CurationError(failureClass, message);
  if (store === null) return Object.assign(new Error(message), { name, ...system });
  const code = STORE_CODES.find((one) => one === store.code) ?? 'refused';
  return new StoreError(code, store.url, message.replace(`${store.url}: `, ''));
}

const STORE_CODES: readonly StoreErrorCode[] = [...ANSWER_CLASSES, 'invalid-object'];
