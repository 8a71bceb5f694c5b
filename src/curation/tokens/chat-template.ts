/**
 * Dialogues as Llama-3's chat template writes them, without a system prompt of its own:
 * `<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n…<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n…<|eot_id|>`.
 * The loss counts on what the assistant says and on the `<|eot_id|>` that ends it.
 */
import type { Turns } from '../read/index.js';
import { strip } from '../read/strip.js';
import type { TextTokenizer } from './tokenizer.js';

/** Tokens of a dialogue and where the loss counts. */
export interface RenderedChat {
  readonly tokens: Uint32Array;
  /** 1 on the assistant's content and its `<|eot_id|>`. */
  readonly mask: Uint8Array;
}

const HEADER_END = '\n\n';

/** Renders dialogues, each starting with the user. Content is stripped, as the template's `trim` does. */
export async function renderChats(
  chats: readonly Turns[],
  tokenizer: TextTokenizer,
): Promise<RenderedChat[]> {
  const [user, assistant] = await tokenizer.encode(['user', 'assistant']);
  if (user === undefined || assistant === undefined) throw new Error('two texts give two encodings');
  // The line breaks belong to the header but are encoded with the content: that is how the template's text is split.
  const contents = await tokenizer.encodePrefixed(
    chats
      .flat()
      .map((turn) => ({ text: `${HEADER_END}${strip(turn)}`, prefixCharacters: HEADER_END.length })),
  );
  let next = 0;
  return chats.map((turns) => {
    const messages = turns.map((_, turn) => ({
      role: turn % 2 === 0 ? user : assistant,
      content: contents[next++],
    }));
    const { beginOfText, startHeader, endHeader, endOfTurn } = tokenizer.special;
    const said = messages.map(({ role, content }) => {
      if (content === undefined) throw new Error('every turn has its encoding');
      return { header: [startHeader, ...role, endHeader], ...content };
    });
    const tokens = new Uint32Array(
      said.reduce((sum, one) => sum + one.header.length + one.ids.length + 1, 1),
    );
    const mask = new Uint8Array(tokens.length);
    tokens[0] = beginOfText;
    let at = 1;
    for (const [turn, { header, ids, prefixTokens }] of said.entries()) {
      tokens.set(header, at);
      at += header.length;
      tokens.set(ids, at);
      const end = at + ids.length;
      tokens[end] = endOfTurn;
      if (turn % 2 !== 0) mask.fill(1, at + prefixTokens, end + 1);
      at = end + 1;
    }
    return { tokens, mask };
  });
}
