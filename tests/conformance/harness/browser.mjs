// Headless Chromium. CHROMIUM names the browser (default: chromium on the PATH).

import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

/** A browser until the test `t` is over. */
export async function launch(t) {
    const executablePath = process.env.CHROMIUM ?? execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim();
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
    t.after(() => browser.close());

    return browser;
}
