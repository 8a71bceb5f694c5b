/** A file of a source, whatever the source. */

/** A file of a source. */
export interface SourceFile {
  /** Name that doesn't depend on where the project lies. */
  readonly name: string;
  readonly path: string;
}
