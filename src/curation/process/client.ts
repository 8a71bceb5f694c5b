/** Curation in a process of its own (main.ts), as a worker runs it. */
import { execaNode } from 'execa';
import { fileURLToPath } from 'node:url';
import type { Problem } from '../../domain/recipe/problem.js';
import type { CurationProgress } from '../curate.js';
import { inheritedEnvironment } from '../../domain/lib/inherited-environment.mjs';
import { loopbackWithoutProxy } from '../../domain/lib/loopback.js';
import { ANSWER_CLASSES } from '../../store/answers.js';
import { StoreError } from '../../store/errors.js';
import type { StoreErrorCode } from '../../store/errors.js';
import { CurationError, CurationProcessError } from '../errors.js';
import { curationAnswerSchema } from './messages.js';
import type {
  CurationAnswer,
  CurationRequest,
  CuratedInProcess,
  ProcessRequest,
  SourceCheck,
} from './messages.js';

const ENTRY = fileURLToPath(new URL('main.ts', import.meta.url));
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
/** Time a process has to end in after SIGTERM, before it gets SIGKILL. */
const GRACE_MS = 5_000;
/** Time for a look at what sources name, and at the first dialogue of chats. */
const CHECK_DEADLINE_MS = 5 * 60_000;

/**
 * Curates one dataset, as `curateDataset` does.
 * @throws CurationError as it does; CurationProcessError when the process ends without an answer; the reason of `signal`;
 * anything else, the store's errors among it, as an error of the same name and message.
 */
export async function curateInProcess(
  request: CurationRequest,
  options: { signal: AbortSignal; onProgress: (progress: CurationProgress) => void },
): Promise<CuratedInProcess> {
  const answer = await answerOf(request, options);
  if (answer.type === 'curated') return answer.curated;
  throw new Error('a dataset that is asked for is curated');
}

/**
 * Checks sources, as `checkSources` does. That it takes longer than `deadlineMs` is a problem too.
 * @throws as `curateInProcess`
 */
export async function checkInProcess(
  request: SourceCheck,
  { signal, deadlineMs = CHECK_DEADLINE_MS }: { signal: AbortSignal; deadlineMs?: number | undefined },
): Promise<Problem[]> {
  const deadline = AbortSignal.timeout(deadlineMs);
  try {
    const answer = await answerOf(request, { signal: AbortSignal.any([signal, deadline]) });
    if (answer.type === 'checked') return answer.problems;
  } catch (error) {
    if (signal.aborted || !deadline.aborted) throw error;
    const message = `could not be looked through in ${deadlineMs / 1000} s`;
    return [{ path: 'data.sources', message, accepted: 'files and folders that a look at takes seconds' }];
  }
  throw new Error('sources that are to be checked are checked');
}

type LastAnswer = Extract<CurationAnswer, { type: 'curated' | 'checked' }>;

async function answerOf(
  request: ProcessRequest,
  { signal, onProgress }: { signal: AbortSignal; onProgress?: (progress: CurationProgress) => void },
): Promise<LastAnswer> {
  const child = execaNode(ENTRY, {
    nodeOptions: ['--import', 'tsx'],
    cwd: PROJECT,
    extendEnv: false,
    env: {
      ...inheritedEnvironment(process.env),
      ...loopbackWithoutProxy(process.env),
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
  let kill: NodeJS.Timeout | undefined;
  for await (const message of child.getEachMessage()) {
    last = curationAnswerSchema.parse(message);
    if (last.type === 'progress') onProgress?.(last.progress);
    // A read that never returns keeps a process from ending by itself.
    else kill = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  }
  const { shortMessage, stderr } = await child;
  clearTimeout(kill);
  signal.throwIfAborted();
  switch (last?.type) {
    case 'curated':
    case 'checked':
      return last;
    case 'failed':
      throw errorOf(last);
    case 'progress':
    case undefined:
      throw new CurationProcessError(shortMessage ?? 'it ended without an answer', stderr);
  }
}

function errorOf(answer: Extract<CurationAnswer, { type: 'failed' }>): Error {
  const { name, message, failureClass, store, system } = answer;
  if (failureClass !== null) return new CurationError(failureClass, message);
  if (store === null) return Object.assign(new Error(message), { name, ...system });
  const code = STORE_CODES.find((one) => one === store.code) ?? 'refused';
  return new StoreError(code, store.url, message.replace(`${store.url}: `, ''));
}

const STORE_CODES: readonly StoreErrorCode[] = [...ANSWER_CLASSES, 'invalid-object'];
