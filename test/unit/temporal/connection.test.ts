import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config.js';
import { temporalConnectionOptions } from '../../../src/temporal/connection.js';

const temporal = (environment: NodeJS.ProcessEnv) =>
  temporalConnectionOptions(loadConfig(environment, '/nowhere'), environment);

describe('every process of the control plane reaches Temporal', () => {
  it('at the configured address, with the API key of its environment', () => {
    const environment = {
      LONGHAUL_TEMPORAL_ADDRESS: 'cloud.example:7233',
      LONGHAUL_TEMPORAL_TLS: 'true',
      TEMPORAL_API_KEY: 'key',
    };
    expect(temporal(environment)).toEqual({ address: 'cloud.example:7233', tls: true, apiKey: 'key' });
  });

  it('without a key where there is none', () => {
    expect(temporal({ TEMPORAL_API_KEY: '' })).toEqual({ address: '127.0.0.1:7233', tls: false });
  });

  it('but never with a key that would be sent in clear', () => {
    for (const environment of [
      { TEMPORAL_API_KEY: 'key' },
      {
        TEMPORAL_API_KEY: 'key',
        LONGHAUL_TEMPORAL_TLS: 'false',
        LONGHAUL_TEMPORAL_ADDRESS: 'cloud.example:7233',
      },
    ])
      expect(() => temporal(environment)).toThrow(
        /TEMPORAL_API_KEY: would be sent .* in clear: set LONGHAUL_TEMPORAL_TLS=true/,
      );
  });
});
