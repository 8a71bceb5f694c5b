/** Starting servers that are told their ports: between the choice of a port and its use another process may take it. */
import { freePort } from './ports.js';
import { PortTakenError } from './server-process.js';

/** More than ever come to pass: each means that another process took one of a few ports within a second. */
const TRIES = 20;

/** Chooses a port that is free now: one of those that are wanted, in their order, or any. 0 wants nothing. */
export type ChoosePort = (wanted: readonly number[]) => Promise<number>;

/**
 * Starts something on ports that are free, and again on others when one of them is taken before it is bound.
 *
 * @param taken ports that are not to be chosen; those that were chosen are added
 */
export async function onFreePorts<T>(
  taken: Set<number>,
  start: (choose: ChoosePort) => Promise<T>,
): Promise<T> {
  const choose: ChoosePort = async (wanted) => {
    const port = await freePort(
      wanted.filter((candidate) => candidate !== 0),
      taken,
    );
    taken.add(port);
    return port;
  };
  for (let tries = 1; ; tries += 1) {
    try {
      return await start(choose);
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === TRIES) throw error;
    }
  }
}
