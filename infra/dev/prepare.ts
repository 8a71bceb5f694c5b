/**
 * Registers what a run needs in servers that are not the embedded ones: search attributes in Temporal, the bucket in
 * the store. Safe to repeat. Configured by the environment, as every process of the control plane.
 */
import { Connection } from '@temporalio/client';
import { loadConfig } from '../../src/config.js';
import { createBucket } from './stack/s3.js';
import { registerSearchAttributes } from './stack/temporal.js';

const config = loadConfig();
const connection = await Connection.connect({ address: config.temporal.address, tls: config.temporal.tls });
try {
  await registerSearchAttributes(connection, config.temporal.namespace);
  if (config.s3.endpoint !== undefined) await createBucket(config.s3.endpoint, undefined, config.s3.bucket);
  console.log(`ready: ${config.temporal.address}, ${config.s3.rootUrl}`);
} finally {
  await connection.close();
}
