// @ts-check
/** Where the trainer's PyTorch comes from, and what there is to say of it before it is downloaded. */
import { existsSync } from 'node:fs';
import { PYTHON_SIZES } from './pins.mjs';

/** Index of PyTorch's own project that has the CPU builds for Linux; PyPI has none. */
const CPU_INDEX = 'https://download.pytorch.org/whl/cpu';

/** What shows that there is an NVIDIA device: the driver's files, and under WSL the graphics device of the host. */
const NVIDIA_SIGNS = ['/dev/nvidiactl', '/dev/nvidia0', '/proc/driver/nvidia', '/dev/dxg'];

/** Whether this machine has an NVIDIA device, as far as its files tell. */
export const seesNvidia = () => NVIDIA_SIGNS.some((file) => existsSync(file));

/**
 * Chooses. The locked build is the only one whose hashes are known, so it is taken wherever no index is named, though on Linux it
 * brings CUDA along; where no device could use that, the way to the light build is told.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {{ platform: string, seesNvidia: boolean }} machine `platform`: as pins are keyed
 * @returns {{ index: string | undefined, notes: readonly string[] }} `index`: undefined means the locked build
 */
export function torchSource(env, machine) {
  const index = env['LONGHAUL_TORCH_INDEX'] ?? '';
  if (index !== '')
    return {
      index,
      notes: [
        'Python environment: PyTorch from LONGHAUL_TORCH_INDEX (size as that index has it), the rest 0.1 GB',
      ],
    };
  const size = PYTHON_SIZES[machine.platform];
  const notes =
    size === undefined
      ? []
      : [`Python environment: PyTorch and its libraries, ${size.download} to download, ${size.disk} on disk`];
  if (!machine.platform.startsWith('linux-') || machine.seesNvidia) return { index: undefined, notes };
  const hint = `(most of it is CUDA, and no NVIDIA device is seen: LONGHAUL_TORCH_INDEX=${CPU_INDEX} takes the CPU build, 0.3 GB)`;
  return { index: undefined, notes: [...notes, hint] };
}
