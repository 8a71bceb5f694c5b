/**
 * Files to the embedded S3 server and back, against the AWS SDK alone.
 *
 *     npx tsx test/bench/transfer.ts [REPEATS] [MIB,MIB,…]        (default 9 repetitions of 64, 256 and 512 MiB)
 *
 * Method: one file of random bytes; in turn, in one process, to and from the same server (versitygw as `npm start` runs it, on a
 * folder below TMPDIR): this project's store, and the AWS SDK (`Upload` of lib-storage from a file stream; ranged GetObject
 * piped into the file at its offset) with the same part size, as many parts at once, and the same client but for checksums.
 * The project hashes (SHA-256 per part, sent with the upload, compared on the way down). The SDK does so in no direction
 * ("without checksums": it still signs every body, which costs it one SHA-256), or as it does by default, a CRC32 up. Who
 * begins rotates; a first round of each is not counted. Printed are medians of MiB/s, processor time of this process,
 * the most memory in buffers that was seen, and the share of the faster SDK that the project reaches: the median over the
 * turns, each of which compares neighbours in time.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { PART_BYTES } from '../../src/contracts/index.js';
import type { StoredFile } from '../../src/contracts/index.js';
import { STATE_DIR } from '../../infra/dev/setup.mjs';
import { createBucket, REGION, startS3 } from '../../infra/dev/stack/s3.js';
import { onFreePorts } from '../../infra/dev/stack/free-ports.js';
import { stopProcess } from '../../infra/dev/stack/server-process.js';
import {
  ObjectStore,
  describeFile,
  downloadFiles,
  mapConcurrently,
  uploadFile,
} from '../../src/store/index.js';
import { loadText, median } from './support/figures.js';

const MIB = 1024 * 1024;
const BUCKET = 'bench';
const PARALLEL = 4;

const repeats = Number(process.argv[2] ?? 9);
const sizes = (process.argv[3] ?? '64,256,512').split(',').map(Number);

/** A way to carry a file to the store and back. */
interface Carrier {
  readonly name: string;
  readonly upload: (file: string) => Promise<unknown>;
  readonly download: (folder: string) => Promise<unknown>;
}

/** What one transfer took. */
interface Taken {
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly megabytes: number;
}

const scratch = await mkdtemp(path.join(tmpdir(), 'longhaul-transfer-'));
const credentials = { accessKeyId: 'longhaul-bench', secretAccessKey: randomBytes(16).toString('hex') };
Object.assign(process.env, {
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
});
const place = { binDir: path.join(STATE_DIR, 'bin'), dataDir: scratch, logDir: scratch };
const { server, endpoint } = await onFreePorts(new Set(), async (choose) => {
  const port = await choose([]);
  return {
    server: await startS3({ ...place, port, credentials }),
    endpoint: `http://127.0.0.1:${String(port)}`,
  };
});
try {
  await createBucket({ endpoint, region: REGION, bucket: BUCKET, credentials });
  for (const size of sizes) await compare(size);
  console.log(loadText());
} finally {
  await stopProcess(server.identity);
  await rm(scratch, { recursive: true });
}

async function compare(mib: number): Promise<void> {
  const file = path.join(scratch, 'source');
  await writeRandom(file, mib);
  const described = await describeFile('file', file);
  const carriers = [
    ours(described),
    theirs('SDK, without checksums', described, {
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    }),
    theirs('SDK, as by default', described, {}),
  ];
  for (const direction of ['upload', 'download'] as const) {
    const taken = new Map<Carrier, Taken[]>(carriers.map((carrier) => [carrier, []]));
    for (let turn = 0; turn <= repeats; turn += 1) {
      for (const index of carriers.keys()) {
        const carrier = carriers[(index + turn) % carriers.length];
        if (carrier === undefined) continue;
        const one = await measure(() =>
          direction === 'upload' ? carrier.upload(file) : carrier.download(scratch),
        );
        if (turn > 0) taken.get(carrier)?.push(one);
      }
    }
    print(direction, mib, taken);
  }
}

async function writeRandom(file: string, mib: number): Promise<void> {
  const handle = await open(file, 'w');
  for (let written = 0; written < mib; written += 1) await handle.write(randomBytes(MIB));
  await handle.close();
}

function ours(described: StoredFile): Carrier {
  const store = ObjectStore.connect({ endpoint, region: REGION });
  const prefix = `s3://${BUCKET}/longhaul`;
  return {
    name: 'longhaul',
    upload: (file) => uploadFile(store, prefix, described.path, { file }),
    download: async (folder) => {
      const problems = await downloadFiles(store, prefix, [described], folder);
      if (problems.length > 0) throw new Error(problems.join('; '));
    },
  };
}

function theirs(name: string, { bytes, parts }: StoredFile, checksums: S3ClientConfig): Carrier {
  const client = new S3Client({ endpoint, region: REGION, forcePathStyle: true, ...checksums });
  const place = { Bucket: BUCKET, Key: name };
  return {
    name,
    upload: (file) =>
      new Upload({
        client,
        params: { ...place, Body: createReadStream(file) },
        partSize: PART_BYTES,
        queueSize: PARALLEL,
      }).done(),
    download: async (folder) => {
      const target = path.join(folder, 'theirs');
      await (await open(target, 'w')).close();
      await mapConcurrently(parts, PARALLEL, async (part) => {
        const end = Math.min(part.offset + PART_BYTES, bytes) - 1;
        const range = `bytes=${String(part.offset)}-${String(end)}`;
        const { Body: body } = await client.send(new GetObjectCommand({ ...place, Range: range }));
        if (!(body instanceof Readable)) throw new TypeError('expected a stream');
        await pipeline(body, createWriteStream(target, { flags: 'r+', start: part.offset }));
      });
    },
  };
}

async function measure(work: () => Promise<unknown>): Promise<Taken> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  let bytes = 0;
  const watch = setInterval(() => {
    bytes = Math.max(bytes, process.memoryUsage().arrayBuffers);
  }, 20);
  try {
    await work();
  } finally {
    clearInterval(watch);
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, processorSeconds: (user + system) / 1e6, megabytes: bytes / MIB };
}

function print(direction: string, mib: number, taken: ReadonlyMap<Carrier, readonly Taken[]>): void {
  for (const [{ name }, ones] of taken) {
    const speed = mib / median(ones.map(({ seconds }) => seconds));
    const processor = median(ones.map(({ processorSeconds }) => processorSeconds));
    const most = Math.max(...ones.map(({ megabytes }) => megabytes));
    console.log(
      `${direction.padEnd(8)} ${String(mib).padStart(4)} MiB  ${name.padEnd(24)} ${speed.toFixed(0).padStart(5)} MiB/s  ` +
        `${processor.toFixed(2)} s of processor  ${most.toFixed(0).padStart(4)} MiB at most`,
    );
  }
  const [own = [], ...others] = [...taken.values()];
  const shares = own.map(
    ({ seconds }, turn) => Math.min(...others.map((other) => other[turn]?.seconds ?? Infinity)) / seconds,
  );
  const [least, most] = [Math.min(...shares), Math.max(...shares)].map((share) => (100 * share).toFixed(0));
  console.log(
    `${direction.padEnd(8)} ${String(mib).padStart(4)} MiB  longhaul reaches ${(100 * median(shares)).toFixed(0)} % ` +
      `(${least ?? ''} to ${most ?? ''}) of the faster SDK`,
  );
}
