/**
 * Servers on this machine are never reached through a proxy. gRPC, Python's HTTP clients and others take one from the environment
 * for any address that `NO_PROXY` does not name, and no proxy elsewhere can reach this machine's loopback address.
 */

const LOOPBACK = ['127.0.0.1', 'localhost', '::1'];

/** In both spellings: some programs read only one of them. */
const NAMES = ['NO_PROXY', 'no_proxy'] as const;

/** Variables of an environment that keep proxies out of the way to this machine; what they name already stays. */
export function loopbackWithoutProxy(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const named = [...NAMES, 'no_grpc_proxy'].flatMap((name) => (environment[name] ?? '').split(','));
  const hosts = [...new Set([...named.map((host) => host.trim()), ...LOOPBACK])].filter(
    (host) => host !== '',
  );
  const value = hosts.join(',');
  // gRPC asks this one alone where there is one.
  const ofGrpc = environment['no_grpc_proxy'] === undefined ? {} : { no_grpc_proxy: value };
  return { NO_PROXY: value, no_proxy: value, ...ofGrpc };
}
