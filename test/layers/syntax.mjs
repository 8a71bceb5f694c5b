/**
 * What code may not spell out because one module has it, as selectors for ESLint's `no-restricted-syntax` (eslint.config.js). Each has
 * under `syntax/<name>.js` a line that breaks it, and one beside it that looks alike and may stay; `check.mjs` fails when either is
 * taken for the other.
 */

/** A template that begins with a value and goes on with a slash: `${…}/…`. */
const JOINED = 'TemplateLiteral[quasis.0.value.raw=""][quasis.1.value.raw=/^\\u002F/]';
/** Names of URLs in the object store. The one of the Temporal UI is none. */
const URL_NAME = '/^(?!uiUrl$).*[uU]rl$/';
const BY_LAYOUT = 'Keys of the object store come from src/contracts/layout.ts.';

/** Keys of the object store that are put together by hand. */
export const STORE_KEYS = [
  {
    name: 'key-below-a-url',
    selector: `${JOINED} > Identifier.expressions[name=${URL_NAME}]:first-child`,
    message: BY_LAYOUT,
  },
  {
    name: 'key-below-a-url-of-something',
    selector: `${JOINED} > MemberExpression.expressions[property.name=${URL_NAME}]:first-child`,
    message: BY_LAYOUT,
  },
  {
    name: 'key-below-a-key',
    selector: `${JOINED} > MemberExpression.expressions[object.callee.name=/Layout$/]:first-child`,
    message: BY_LAYOUT,
  },
  {
    name: 'key-by-a-sum',
    selector: `BinaryExpression[operator="+"][right.value=/^\\u002F/] > Identifier.left[name=${URL_NAME}]`,
    message: BY_LAYOUT,
  },
  {
    name: 'name-of-an-object',
    selector:
      'TemplateElement[value.raw=/\\u002F(manifest|quarantine|attempt|outcome|spec|lease|owner|recipe|results?|bump|config|tokenizer)\\.json$|\\u002FHEAD$/]',
    message: BY_LAYOUT,
  },
];
