// @ts-check
/** What test runners wrote, as counts and failures. A runner that ran nothing has failed. */
import { stripVTControlCharacters } from 'node:util';
import { isRecord } from './files.mjs';

/**
 * @typedef {object} Result
 * @property {number} passed
 * @property {number} failed
 * @property {readonly string[]} failures One text per failure, first line its name
 */

const MESSAGE_LINES = 14;

/**
 * Result of `vitest --reporter=json`. Tests that were not run count as failed, those of a file as one: a promise that is not
 * tested is not kept, and what kept them from running is said once. The report does not have the error of a `beforeAll`; what
 * vitest printed does.
 *
 * @param {unknown} report
 * @param {string} [output] What vitest printed
 * @returns {Result}
 */
export function vitestResult(report, output = '') {
  if (!isRecord(report) || !Array.isArray(report['testResults'])) return failedAs('vitest wrote no report');
  let passed = 0;
  /** @type {string[]} */
  const failures = [];
  for (const file of report['testResults'].filter(isRecord)) {
    const tests = Array.isArray(file['assertionResults']) ? file['assertionResults'].filter(isRecord) : [];
    const failed = tests.filter((test) => test['status'] === 'failed');
    const notRun = tests.filter((test) => test['status'] !== 'failed' && test['status'] !== 'passed');
    passed += tests.length - failed.length - notRun.length;
    for (const test of failed) failures.push(failureText(`${test['fullName']}`, messagesOf(test)));
    if (notRun.length > 0) {
      const names = notRun.map((test) => `- ${test['fullName']}`);
      const why = [brokenSuites(output), `${file['message'] ?? ''}`].filter((text) => text !== '');
      failures.push(
        [`${file['name']}: ${notRun.length} not run`, ...why.map(shortened), ...names].join('\n'),
      );
    } else if (file['status'] === 'failed' && failed.length === 0) {
      // A file that could not be loaded has a message and no tests.
      failures.push(failureText(`${file['name']}`, `${file['message'] ?? ''}`));
    }
  }
  return nonEmpty({ passed, failed: failures.length, failures });
}

/** @param {Record<string, unknown>} test */
function messagesOf(test) {
  const messages = test['failureMessages'];
  return Array.isArray(messages) ? messages.join('\n') : '';
}

/**
 * What vitest printed of suites whose `beforeAll` failed; empty when there is none.
 *
 * @param {string} output
 */
function brokenSuites(output) {
  const [, section = ''] =
    /Failed Suites \d+ ⎯*\n([\s\S]*?)\n⎯{3}/.exec(stripVTControlCharacters(output)) ?? [];
  return section.trim();
}

/** @param {string} message */
const shortened = (message) => message.split('\n').slice(0, MESSAGE_LINES).join('\n').trimEnd();

/**
 * @param {string} name
 * @param {string} message
 */
const failureText = (name, message) => `${name}\n${shortened(message)}`.trimEnd();

/**
 * Result of a JUnit XML report as pytest writes it.
 *
 * @param {string | undefined} xml
 * @returns {Result}
 */
export function junitResult(xml) {
  if (xml === undefined || !xml.includes('<testsuite')) return failedAs('pytest wrote no report');
  let passed = 0;
  /** @type {string[]} */
  const failures = [];
  for (const [, attributes = '', body = ''] of xml.matchAll(
    /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    const name = `${attributeOf(attributes, 'classname')}.${attributeOf(attributes, 'name')}`;
    const bad = /<(failure|error|skipped)\b([^>]*?)(?:\/>|>([\s\S]*?)<\/\1>)/.exec(body);
    if (bad === null) passed += 1;
    else
      failures.push(
        failureText(`${name}${statusOf(bad[1])}`, unescapeXml(attributeOf(bad[2] ?? '', 'message'))),
      );
  }
  return nonEmpty({ passed, failed: failures.length, failures });
}

/** @param {string | undefined} element */
const statusOf = (element) => (element === 'failure' ? '' : ` (${element})`);

/**
 * @param {string} attributes
 * @param {string} name
 */
function attributeOf(attributes, name) {
  return new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '';
}

/** @param {string} text */
function unescapeXml(text) {
  return text
    .replaceAll('&#10;', '\n')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&');
}

/**
 * Result of a program that says `N passed, M failed` in its last line, or says nothing and counts as one check.
 *
 * @param {{ code: number, output: string }} finished
 * @returns {Result}
 */
export function programResult({ code, output }) {
  const counts = /^(\d+) passed, (\d+) failed$/m.exec(output.trimEnd().split('\n').at(-1) ?? '');
  const failures = code === 0 ? [] : [output.trim() === '' ? `exit code ${code}` : output.trim()];
  if (counts === null) return { passed: code === 0 ? 1 : 0, failed: failures.length, failures };
  return nonEmpty({
    passed: Number(counts[1]),
    failed: Math.max(Number(counts[2]), failures.length),
    failures,
  });
}

/** @param {Result} result */
function nonEmpty(result) {
  return result.passed + result.failed === 0 ? failedAs('no test was run') : result;
}

/**
 * @param {string} why
 * @returns {Result}
 */
function failedAs(why) {
  return { passed: 0, failed: 1, failures: [why] };
}
