/** Values that somebody may send, by mistake or on purpose, where something else is expected. */

const nested = (depth: number): unknown => {
  let value: unknown = 'end';
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { stages: value };
  return value;
};

/** A key of its own, as `JSON.parse` makes one of this name: not the object's prototype. */
const withOwnKey = (key: string): unknown => JSON.parse(`{${JSON.stringify(key)}: {"polluted": true}}`);

/** Hostile values by name. Each is JSON. */
export const HOSTILE_VALUES: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['null', null],
  ['an empty list', []],
  ['a list of null', [null]],
  ['an empty object', {}],
  ['true', true],
  ['a word', 'x'],
  ['an empty text', ''],
  ['NaN as text', 'NaN'],
  ['zero', 0],
  ['minus one', -1],
  ['a fraction', 0.1],
  ['the largest number', 1e308],
  ['the smallest number', 5e-324],
  ['more than a safe integer', 2 ** 53 + 2],
  ['400 nines and a unit', `${'9'.repeat(400)}M`],
  ['100,000 letters', 'a'.repeat(100_000)],
  ['control characters', '\u0000\u0007\u001b[2J\u001b]0;title\u0007\r\n\u202e\u2028'],
  ['half a character', 'a\ud800b\udc00'],
  ['a path outwards', '../../../../etc/shadow'],
  ['markup', '<script>alert(1)</script> | `x` ${x} {{x}}'],
  ['3,000 levels', nested(3000)],
  ['3,000 keys', Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`key-${index}`, index]))],
  ['3,000 items', Array.from({ length: 3000 }, (_, index) => ({ index }))],
  ['a key __proto__', withOwnKey('__proto__')],
  ['a key constructor', withOwnKey('constructor')],
  ['a key toString', withOwnKey('toString')],
  ['a key of half a character', withOwnKey('\ud800')],
]);
