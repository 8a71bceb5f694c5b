/**
 * What a process of a run inherits from its worker's environment: what it needs to reach the store, to find its programs and to
 * compute. Whatever else a machine sets, tokens and keys of other programs among it, is none of its business.
 */
const NAMES = new Set([
  'CURL_CA_BUNDLE',
  'HOME',
  'HOSTNAME',
  'LANG',
  'LANGUAGE',
  'LD_LIBRARY_PATH',
  'LOGNAME',
  'NODE_EXTRA_CA_CERTS',
  'NODE_OPTIONS',
  'NODE_USE_ENV_PROXY',
  'NODE_USE_SYSTEM_CA',
  'PATH',
  'REQUESTS_CA_BUNDLE',
  'SHELL',
  'SSL_CERT_DIR',
  'SSL_CERT_FILE',
  'TEMP',
  'TMP',
  'TMPDIR',
  'TZ',
  'USER',
  'XDG_CACHE_HOME',
]);
/** Beginnings of the names of settings: of the store, of Longhaul, of locales, and of what computes. */
const PREFIXES = [
  'AWS_',
  'LONGHAUL_',
  'LC_',
  'CUBLAS_',
  'CUDA_',
  'CUDNN_',
  'GOMP_',
  'KMP_',
  'MKL_',
  'NCCL_',
  'NVIDIA_',
  'OMP_',
  'OPENBLAS_',
].concat(['PYTHON', 'PYTORCH_', 'TORCH_', 'TORCHINDUCTOR_', 'TRITON_']);
/** Read in capitals by some programs, in small letters by others. */
const PROXIES = new Set(['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY']);

/** The part of an environment that is passed on. */
export function inheritedEnvironment(environment) {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => isPassedOn(name)));
}

function isPassedOn(name) {
  return (
    NAMES.has(name) || PROXIES.has(name.toUpperCase()) || PREFIXES.some((prefix) => name.startsWith(prefix))
  );
}
