/**
 * How payloads become values in workflows: as the SDK does it, but for those that nobody can read, of an encoding that the UI offers
 * and nobody here speaks, say. The SDK throws over one, so that a signal of that kind would fail every task of its workflow from
 * then on. Here it becomes an object that no schema takes, and so is refused like any other odd message.
 */
import { defaultPayloadConverter } from '@temporalio/common';
import type { PayloadConverter } from '@temporalio/common';

/** The converter, under the name by which the bundle of workflows takes it in. */
export const payloadConverter: PayloadConverter = {
  toPayload: (value, context, hint) => defaultPayloadConverter.toPayload(value, context, hint),
  fromPayload: (payload, context, hint) => {
    try {
      return defaultPayloadConverter.fromPayload(payload, context, hint);
    } catch (error) {
      const unreadablePayload = error instanceof Error ? error.message : 'it can’t be read';
      return defaultPayloadConverter.fromPayload(defaultPayloadConverter.toPayload({ unreadablePayload }));
    }
  },
};
