import { defineConfig } from 'vitest/config';
import { TEST_MS } from './test/support/patience.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two cores are shared with the servers and trainers under test.
    maxWorkers: 2,
    testTimeout: TEST_MS,
    hookTimeout: TEST_MS,
    passWithNoTests: false,
  },
});
