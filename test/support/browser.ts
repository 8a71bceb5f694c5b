/** A real Chromium, headless, with a fresh profile. */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { PATIENCE_MS } from './patience.js';

const CANDIDATES = [
  process.env['LONGHAUL_CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

/** Starts the browser. @throws when there is none: a browser test that did not run has not passed. */
export async function startBrowser(): Promise<Browser> {
  const executablePath = CANDIDATES.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) {
    throw new Error(
      'no Chromium found: install the package "chromium", or set LONGHAUL_CHROMIUM to its path',
    );
  }
  return chromium.launch({
    executablePath,
    timeout: PATIENCE_MS,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
}

/** A page, tall enough to show a run as a whole, which waits for what is to come as long as a busy machine takes. */
export async function openPage(browser: Browser): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1400, height: 1500 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.setDefaultNavigationTimeout(PATIENCE_MS);
  return page;
}
