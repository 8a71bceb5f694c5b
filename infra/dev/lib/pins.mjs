// @ts-check
/**
 * What the development stack is made of, exactly. The digests are those of the official release archives, as the
 * projects publish them beside each release; a platform without a digest falls through to a build from source.
 */

/**
 * @typedef {object} Archive
 * @property {string} url Address of a .tar.gz
 * @property {string} sha256 Lower-case hex digest of the archive
 * @property {string} member Path of the binary inside the archive
 */

/**
 * @typedef {object} Tool
 * @property {string} name File name of the binary
 * @property {string} version Without a leading v
 * @property {string} what For people
 * @property {RegExp} versionPattern Finds the version in what `--version` prints, as its first group
 * @property {Readonly<Record<string, Archive>>} archives By `<platform>-<arch>` as Node names them
 * @property {string} releasePage Where a person finds the official release
 * @property {{ module: string, folder: string, versionVariable: string, versionPrefix: string, minutes: string }} source
 *   Go package, the folder (below infra/dev/go) with the go.mod that pins it, the variable that holds its version,
 *   and how long a build takes on two cores
 */

/** Oldest versions that work. Go is only needed where an official release can't be downloaded. */
export const MINIMUM = Object.freeze({ node: '20.19.0', python: '3.11.0', go: '1.25.0' });

const temporalRelease = 'https://github.com/temporalio/cli/releases';
const versitygwRelease = 'https://github.com/versity/versitygw/releases';

/** @type {(platform: string, sha256: string) => Archive} */
const temporalArchive = (platform, sha256) => ({
  url: `${temporalRelease}/download/v1.5.1/temporal_cli_1.5.1_${platform}.tar.gz`,
  sha256,
  member: 'temporal',
});

/** @type {(platform: string, sha256: string) => Archive} */
const versitygwArchive = (platform, sha256) => ({
  url: `${versitygwRelease}/download/v1.8.0/versitygw_v1.8.0_${platform}.tar.gz`,
  sha256,
  member: `versitygw_v1.8.0_${platform}/versitygw`,
});

/** @type {readonly [Tool, Tool]} */
export const TOOLS = [
  {
    name: 'temporal',
    version: '1.5.1',
    what: 'Temporal dev server and UI',
    versionPattern: /^temporal version v?(\S+)/m,
    releasePage: `${temporalRelease}/tag/v1.5.1`,
    archives: {
      'linux-x64': temporalArchive(
        'linux_amd64',
        'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
      ),
      'linux-arm64': temporalArchive(
        'linux_arm64',
        'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
      ),
      'darwin-x64': temporalArchive(
        'darwin_amd64',
        'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
      ),
      'darwin-arm64': temporalArchive(
        'darwin_arm64',
        'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
      ),
    },
    source: {
      module: 'github.com/temporalio/cli/cmd/temporal',
      folder: 'temporal',
      versionVariable: 'github.com/temporalio/cli/temporalcli.Version',
      versionPrefix: '',
      minutes: 'about 2½ minutes',
    },
  },
  {
    name: 'versitygw',
    version: '1.8.0',
    what: 'S3 server',
    versionPattern: /^Version\s*:\s*v?(\S+)/m,
    releasePage: `${versitygwRelease}/tag/v1.8.0`,
    archives: {
      'linux-x64': versitygwArchive(
        'Linux_x86_64',
        '2ba2c734d10d2c4e651d03182cb4b246656bc735a2f282db7b0b73fba6073467',
      ),
      'linux-arm64': versitygwArchive(
        'Linux_arm64',
        'b34051d33f5a9c457f790896acb7bd7d7e15ad8d92efb70616b924f37e401910',
      ),
      'darwin-x64': versitygwArchive(
        'Darwin_x86_64',
        '104bd978e80ef0173554cfd8630ccc5bac24b00da440510b60365a3b6b6ab134',
      ),
      'darwin-arm64': versitygwArchive(
        'Darwin_arm64',
        '4953096f65a9c0d62ab184fb6b2ba7c2435229205cf00a56cb62cd4bf6b216ca',
      ),
    },
    source: {
      module: 'github.com/versity/versitygw/cmd/versitygw',
      folder: 'versitygw',
      versionVariable: 'main.Version',
      versionPrefix: 'v',
      minutes: 'about a minute',
    },
  },
];

/**
 * What installing the trainer's Python environment moves, per platform; PyTorch's Linux wheels insist on their CUDA
 * libraries. Measured from the locked wheels' sizes.
 *
 * @type {Readonly<Record<string, { download: string, disk: string }>>}
 */
export const PYTHON_SIZES = Object.freeze({
  'linux-x64': { download: '3.1 GB', disk: '5.4 GB' },
  'linux-arm64': { download: '3.3 GB', disk: 'about 6 GB' },
  'darwin-arm64': { download: '0.2 GB', disk: 'about 1 GB' },
});

/** `<platform>-<arch>` of this machine, as the tables above are keyed. */
export const PLATFORM = `${process.platform}-${process.arch}`;
