/**
 * HTML and SVG as values. Everything put into a template is escaped unless it is markup itself, so text from recipes,
 * file names and logs can't become markup by accident.
 */

import { printable } from '../../domain/lib/text.js';

/** A piece of finished markup. */
export class Markup {
  constructor(readonly text: string) {}
}

/** What may be put into a template. `null` and `false` leave nothing. */
export type Content = Markup | string | number | null | false | readonly Content[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as it must stand in element content or a quoted attribute. */
export function escapeText(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

function write(content: Content): string {
  if (content === null || content === false) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'string') return escapeText(content);
  if (typeof content === 'number') return String(content);
  return content.map(write).join('');
}

/** Template tag for markup: markup`<p>${text}</p>`. */
export function markup(strings: TemplateStringsArray, ...contents: Content[]): Markup {
  return new Markup(strings.map((piece, index) => piece + write(contents[index] ?? null)).join(''));
}

/** Nothing. */
export const NOTHING = new Markup('');
