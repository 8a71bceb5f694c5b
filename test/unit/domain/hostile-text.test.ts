/** What a person or a document says is text wherever it is shown: no markup, no second line, no control of a terminal. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OPERATOR_ACTION_NAMES, shapeProblem } from '../../../src/domain/run/operator-actions.js';
import { statusMarkdown } from '../../../src/domain/run/status-markdown.js';
import { isOneLine, markdownText, printable } from '../../../src/domain/lib/text.js';
import { colored } from '../../../src/cli/run-view.js';
import { escapeText } from '../../../src/report/page/markup.js';
import { runStatus } from '../../support/run-status.js';

/** What intruders write. */
const HOSTILE = [
  '\u001b[2J\u001b[1;1H✓ Verified: nothing differs.',
  '\u001b]8;;https://evil.example\u0007here\u001b]8;;\u0007',
  '\u009b31m',
  'ann\r✓ Verified',
  'ann\u2028bob',
  '\u202egnp.exe',
  'a\u0000b\u0008c\u007f',
];
const MARKUP = [
  '[here](https://evil.example)',
  '<img src=x onerror=alert(1)>',
  '`code`',
  '**done**',
  'a | b',
  '![x](y)',
];
const hostile = fc.oneof(
  fc.constantFrom(...HOSTILE, ...MARKUP),
  fc.string({ unit: 'binary' }),
  fc
    .array(fc.constantFrom(...HOSTILE, ...MARKUP, 'text', '\n', '\\'), { maxLength: 6 })
    .map((parts) => parts.join('')),
);
/** A control character that a terminal or a browser acts on. */
const CONTROL = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/u;
describe('actor and reason are one line without control characters', () => {
  it.each(OPERATOR_ACTION_NAMES)('of %s', (action) => {
    for (const field of ['actor', 'reason']) {
      for (const text of HOSTILE) {
        const problem = shapeProblem(action, { actor: 'ann', reason: 'new node', [field]: text });
        expect(problem).toContain(`${field}: one line without control characters`);
        expect(isOneLine(problem ?? '')).toBe(true);
      }
      const fine = shapeProblem(action, { actor: 'Jürgen 李 👩‍💻', reason: 'a | b <c> `d`' });
      expect(fine ?? '').not.toContain('one line');
    }
  });
});

describe('a terminal', () => {
  it('is shown what controls it, and not controlled by it', () => {
    fc.assert(
      fc.property(hostile, (text) => !CONTROL.test(printable(text)) && !CONTROL.test(colored(text, false))),
    );
    expect(printable(HOSTILE[0] ?? '')).toBe('\\u001b[2J\\u001b[1;1H✓ Verified: nothing differs.');
    expect(printable('one\n\ttwo, Jürgen 李')).toBe('one\n\ttwo, Jürgen 李');
  });
});

describe('Markdown', () => {
  it('has a text in one line, and no markup from it', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const shown = markdownText(text);
        const bare = shown.replace(/\\[\\`*[\]<>|~]/g, '');
        return isOneLine(shown) && !/[`*[\]<>|~]/.test(bare);
      }),
    );
  });

  it('of a status has as many lines and cells whatever its texts say', () => {
    const withText = (text: string): string => {
      const status = runStatus({
        state: 'paused',
        waitingFor: text,
        problems: [text.replaceAll('\n', ' ')],
        warnings: [],
      });
      const stages = status.stages.map((stage) => ({ ...stage, note: text, title: text }));
      return statusMarkdown({ ...status, stages });
    };
    const shapeOf = (markdown: string): number[] =>
      markdown.split('\n').map((line) => line.replace(/\\[^\n]/g, '').split('|').length);
    const expected = shapeOf(withText('text'));
    fc.assert(
      fc.property(hostile, (text) => {
        expect(shapeOf(withText(text))).toEqual(expected);
      }),
    );
  });
});

describe('HTML', () => {
  it('has a text without tags, attributes or controls', () => {
    fc.assert(
      fc.property(hostile, (text) => !/[<>"']/.test(escapeText(text)) && !CONTROL.test(escapeText(text))),
    );
  });
});
