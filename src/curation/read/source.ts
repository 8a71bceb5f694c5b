/** What every source of documents offers: a stream, one document at a time, in an order that never changes. */
import type { BadFile } from '../errors.js';
import type { FileDigests } from './file-digests.js';
import type { SourceFile } from './source-file.js';

export type { SourceFile } from './source-file.js';

/** A dialogue: user and assistant in turn, the user first. */
export type Turns = readonly string[];

/** One document. */
export interface Document {
  /** Names it within its source: a path, or a path and a line. */
  readonly id: string;
  /** What it says; for a dialogue its turns, one after the other. It decides the held-out split. */
  readonly text: string;
  /** For dialogues. */
  readonly turns?: Turns;
}

/** What a source yields. */
export type SourceItem =
  | { readonly kind: 'document'; readonly document: Document }
  /** A file was read; counted, so that the share of bad ones has a denominator. */
  | { readonly kind: 'file' }
  /** A file (or line) can't be used; counted as a file as well, or as so many lines as are lost with it. */
  | { readonly kind: 'bad'; readonly bad: BadFile; readonly lines?: number };

/** A stream of documents that can be read again and gives the same. Memory: one document. */
export interface DocumentSource {
  /**
   * @param digests of its files when it was opened: what is read must still be that
   * @throws CurationError (data) when it isn't; FileDeadlineError.
   */
  read(digests?: FileDigests): AsyncIterable<SourceItem>;
  /** Every file it reads, absolute and sorted: what the dataset's input digest covers. */
  files(): Promise<readonly SourceFile[]>;
  /** What decides its documents besides the recipe and the bytes of its files: the version of a Python, say. */
  readonly readBy?: string;
}

/** Folders that relative paths and package names are looked up in, and how long their disks may take. */
export interface SourceRoots {
  /** The project: relative paths start here. */
  readonly project: string;
  /** node_modules. */
  readonly npm: string;
  /** site-packages of the trainer's Python. */
  readonly python: string;
  /** That Python, which parses sources for their docstrings. */
  readonly interpreter: string;
  /** Absolute paths of the folders that everything read must lie below, once links are followed. */
  readonly allowed: readonly string[];
  /** Longest wait for each step of the file system, milliseconds; a minute where it is left out. */
  readonly deadlineMs?: number | undefined;
}
