/** Stands in for a worker that curates and is killed: it takes a curation request over IPC, as its own parent's child. */
import { getOneMessage } from 'execa';
import { curationRequestSchema } from '../../src/curation/process/messages.js';
import { curateInProcess } from '../../src/curation/process/client.js';

const request = curationRequestSchema.parse(await getOneMessage());
await curateInProcess(request, { signal: new AbortController().signal, onProgress: () => undefined });
