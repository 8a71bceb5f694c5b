/**
 * Registers what a run needs in servers that are not the embedded ones: search attributes in Temporal, the bucket in
 * the store. Safe to repeat. Configured by the environment, as every process of the control plane.
 */
import { withClient } from '../../src/cli/client.js';
import { loadConfig } from '../../src/config.js';
import { createBucket } from './stack/s3.js';
import { registerSearchAttributes } from './stack/temporal.js';

const config = loadConfig();
const { endpoint, region, bucket, rootUrl } = config.s3;
await withClient(config, (_client, connection) =>
  registerSearchAttributes(connection, config.temporal.namespace),
);
if (endpoint !== undefined) await createBucket({ endpoint, region, bucket });
console.log(`ready: ${config.temporal.address}, ${rootUrl}`);
