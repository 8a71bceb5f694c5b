/**
 * What comes to a workflow from outside. Whoever may reach Temporal can start any workflow, and send any signal, with anything in it
 * or nothing, so everything is parsed: an input that says nothing ends its workflow, a signal that says nothing is dropped, logged and
 * shown, and neither stops anything else.
 */
import { ApplicationFailure, log, setHandler, workflowInfo } from '@temporalio/workflow';
import type { z } from 'zod';
import type { SignalContract } from '../src/domain/run/messages.js';
import { issuesText } from '../src/domain/recipe/problem.js';
import { signalOf } from './messages.js';

/**
 * A workflow's input, parsed.
 * @throws ApplicationFailure of type `user-error`, with every problem and its path: the workflow ends with it.
 */
export function parsedInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const { workflowType } = workflowInfo();
  const message = `this is no input of ${workflowType}: ${issuesText(result.error)}`;
  throw ApplicationFailure.create({ type: 'user-error', nonRetryable: true, message });
}

/** Messages that a workflow has dropped. Only their number and the newest are kept: anyone can send any number of them. */
export class DroppedMessages {
  #count = 0;
  #newest = '';

  /** `onDrop` is told after each. */
  constructor(private readonly onDrop: () => void) {}

  /** One sentence for people; null: none was dropped. */
  get warning(): string | null {
    if (this.#count === 0) return null;
    const messages = this.#count === 1 ? '1 message was' : `${this.#count} messages were`;
    return `${messages} dropped; the newest: ${this.#newest}`;
  }

  /** Drops a message. */
  drop(name: string, problem: string): void {
    this.#count += 1;
    this.#newest = `signal ${name}: ${problem}`;
    log.warn('a message was dropped', { signal: name, problem });
    this.onDrop();
  }
}

/** Takes a signal with one payload, once it has been parsed; one that can't be is dropped. Further payloads mean nothing. */
export function onSignal<T>(
  signal: SignalContract<T>,
  dropped: DroppedMessages,
  take: (value: T) => void | Promise<void>,
): void {
  setHandler(
    signalOf(signal),
    (value: unknown) => {
      const result = signal.payload.safeParse(value);
      if (result.success) return take(result.data);
      dropped.drop(signal.name, issuesText(result.error));
    },
    { description: signal.meaning },
  );
}
