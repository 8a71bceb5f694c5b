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

const BY_CONTRACT = 'Names of workflows and messages come from src/domain/run/messages.ts.';

/** Names of workflows, queries, signals and updates that are spelt out. Those of Temporal itself begin with two underlines. */
export const MESSAGE_NAMES = [
  {
    name: 'name-of-a-message',
    selector:
      'CallExpression[callee.property.name=/^(query|executeUpdate|startUpdate)$/] > Literal.arguments[value=/^(?!__)/]:first-child',
    message: BY_CONTRACT,
  },
  {
    name: 'name-of-a-signal',
    selector:
      'CallExpression[callee.property.name="signal"]:not([arguments.1.value=/^SIG/]) > Literal.arguments[value=/^(?!__)/]:first-child',
    message: BY_CONTRACT,
  },
  {
    name: 'name-that-is-defined',
    selector: 'CallExpression[callee.name=/^define(Query|Signal|Update)$/] > Literal.arguments:first-child',
    message: BY_CONTRACT,
  },
  {
    name: 'name-of-a-workflow',
    selector:
      'CallExpression[callee.object.property.name="workflow"][callee.property.name=/^(start|execute|signalWithStart)$/] > Literal.arguments:first-child',
    message: BY_CONTRACT,
  },
  {
    name: 'name-of-a-workflow-type',
    selector: 'Property[key.name="workflowType"] > Literal.value',
    message: BY_CONTRACT,
  },
  {
    name: 'name-within-a-workflow-type',
    selector:
      'Property[key.name="workflowType"] > ObjectExpression > Property[key.name="name"] > Literal.value',
    message: BY_CONTRACT,
  },
  {
    name: 'name-in-a-list-query',
    selector:
      ':matches(Literal[value=/WorkflowType *= *[\'"]\\w/], TemplateElement[value.raw=/WorkflowType *= *[\'"]\\w/])',
    message: BY_CONTRACT,
  },
];
