/**
 * How a workflow's errors become the failures that Temporal keeps: as the SDK does it, but bounded, and as valid text. What people
 * and documents supply ends up in messages, and the server refuses half a character or megabytes with the whole task, for ever.
 */
import { DefaultFailureConverter } from '@temporalio/common';
import type { ProtoFailure } from '@temporalio/common';
import { withinLimit } from '../src/domain/lib/text.js';

/** Most characters of a message, and of a stack: room for every problem of a recipe that is told. */
const MOST_CHARACTERS = 20_000;
/** Most causes that are kept, one below the other. */
const MOST_CAUSES = 10;

class BoundedFailureConverter extends DefaultFailureConverter {
  override errorToFailure(...of: Parameters<DefaultFailureConverter['errorToFailure']>): ProtoFailure {
    return bounded(super.errorToFailure(...of), MOST_CAUSES);
  }
}

function bounded(failure: ProtoFailure, causes: number): ProtoFailure {
  const { message, stackTrace, cause } = failure;
  return {
    ...failure,
    message: withinLimit(message ?? '', MOST_CHARACTERS),
    stackTrace: withinLimit(stackTrace ?? '', MOST_CHARACTERS),
    cause: cause === null || cause === undefined || causes === 0 ? null : bounded(cause, causes - 1),
  };
}

/** The converter, under the name by which the bundle of workflows takes it in. */
export const failureConverter = new BoundedFailureConverter();
