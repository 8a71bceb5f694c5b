/**
 * Chaos on purpose, against real servers: whatever is killed, cut off, damaged or lied to, a run ends in the weights of an
 * undisturbed one, having consumed every sample once, with nothing left behind.
 */
import { afterAll, beforeAll } from 'vitest';
import { TEST_MS } from '../support/patience.js';
import { ChaosStack } from './support/chaos-stack.js';
import { damageScenarios } from './damage.js';
import { drillScenarios } from './drill.js';
import { operatorScenarios } from './operators.js';
import { storeScenarios } from './store.js';
import { trainerScenarios } from './trainers.js';
import { workerScenarios } from './workers.js';

/** Random moments follow from it. CHAOS_SEED repeats a run of the suite. */
const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

let stack: ChaosStack | undefined;

function theStack(): ChaosStack {
  if (stack === undefined) throw new Error('the stack runs only while tests do');
  return stack;
}

beforeAll(async () => {
  console.log(`CHAOS_SEED=${seed}`);
  stack = await ChaosStack.start();
  await stack.runUndisturbed();
}, TEST_MS);

afterAll(async () => {
  await stack?.stop();
}, TEST_MS);

trainerScenarios(theStack, seed);
damageScenarios(theStack);
operatorScenarios(theStack);
storeScenarios(theStack);
drillScenarios(theStack, seed);
workerScenarios(theStack);
