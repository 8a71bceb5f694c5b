/** Logs of the control plane: one JSON line each, with nothing secret in it. */
import { pino } from 'pino';
import type { Logger } from 'pino';
import type { LogEntry, Logger as TemporalLogger } from '@temporalio/worker';
import { DefaultLogger } from '@temporalio/worker';
import type { Config } from './config.js';

/** Fields whose values never reach a log, at its top or one object down: deeper ones aren't looked at. */
const REDACTED = ['accessKeyId', 'secretAccessKey', 'sessionToken', 'apiKey', 'environment', 'credentials'];

/** Logger of a process, to standard error. */
export function createLogger(config: Pick<Config, 'logLevel'>, process: string): Logger {
  return pino(
    {
      level: config.logLevel,
      base: { process },
      redact: { paths: REDACTED.flatMap((field) => [field, `*.${field}`]), censor: '[redacted]' },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** The SDK's logs through the process's logger. */
export function temporalLogger(logger: Logger): TemporalLogger {
  const write = ({ level, message, meta }: LogEntry): void => {
    const fields = meta ?? {};
    switch (level) {
      case 'TRACE':
        logger.trace(fields, message);
        break;
      case 'DEBUG':
        logger.debug(fields, message);
        break;
      case 'INFO':
        logger.info(fields, message);
        break;
      case 'WARN':
        logger.warn(fields, message);
        break;
      case 'ERROR':
        logger.error(fields, message);
        break;
    }
  };
  return new DefaultLogger('TRACE', write);
}
