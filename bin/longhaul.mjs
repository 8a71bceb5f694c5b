#!/usr/bin/env node
/** `longhaul`: the command line. The project runs from its TypeScript sources. */
import { register } from 'tsx/esm/api';

process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
register();
const { main } = await import('../src/cli/main.ts');
await main(process.argv);
