/** Bytes as lines. A line ends at LF and at nothing else, whatever JSON strings, operating systems or runtimes take for one. */

const LF = 0x0a;
const CR = 0x0d;

/** A line without its end, or one that is longer than allowed and was let go of. */
export type ByteLine =
  | { readonly number: number; readonly bytes: Uint8Array }
  | { readonly number: number; readonly tooLong: true };

/**
 * Splits a stream of bytes; a CR before the LF belongs to the end of the line. Memory: one chunk and one line of at most
 * `maxBytes`, however long lines are. What follows the last LF is a line if there is anything.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<ByteLine, void, undefined> {
  let number = 1;
  const line = new LineBuffer(maxBytes);
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      line.add(chunk.subarray(start, end));
      yield line.take(number++);
      start = end + 1;
    }
    line.add(chunk.subarray(start));
  }
  if (line.length > 0) yield line.take(number);
}

/** The line that is being read. */
class LineBuffer {
  private parts: Uint8Array[] = [];
  length = 0;

  constructor(private readonly maxBytes: number) {}

  add(bytes: Uint8Array): void {
    this.length += bytes.length;
    if (this.length > this.maxBytes) this.parts = [];
    else if (bytes.length > 0) this.parts.push(bytes);
  }

  take(number: number): ByteLine {
    const { parts, length } = this;
    [this.parts, this.length] = [[], 0];
    if (length > this.maxBytes) return { number, tooLong: true };
    const bytes = Buffer.concat(parts, length);
    return { number, bytes: bytes.at(-1) === CR ? bytes.subarray(0, -1) : bytes };
  }
}
