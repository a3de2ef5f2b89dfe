// Two windows of the chat page in headless Chromium: what one writes, the other shows.
//
//   node chat.mjs http://127.0.0.1:8000 [screenshot.png]
//
// CHROMIUM names the browser (default: chromium on the PATH). Prints one line of JSON with what was
// seen; exit code 0 only if every expectation held. Waiting is Playwright's: it watches the page.

import { randomUUID } from 'node:crypto';
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';

const [url, screenshot] = process.argv.slice(2);

if (!url) {
    console.error('expected the URL of the chat page as the first argument, found nothing');
    process.exit(2);
}

function expect(condition, words) {
    if (!condition) throw new Error(words);
}

const executablePath = process.env.CHROMIUM ?? execFileSync('which', ['chromium'], { encoding: 'utf8' }).trim();
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });

async function open(author) {
    // A context of its own: another visitor with another session, not a second tab of the same one.
    const context = await browser.newContext({ viewport: { width: 820, height: 900 }, colorScheme: author === 'Ada' ? 'light' : 'dark' });
    const page = await context.newPage();
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(error.message));
    page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
    await page.goto(url);
    await page.waitForFunction(() => document.body.dataset.subscribed === 'chat');
    await page.fill('#author', author);

    return page;
}

async function write(page, text) {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
}

const bubble = (page, text) => page.locator('.message:not(.past)', { has: page.locator('.text', { hasText: text }) });

async function exchange(from, to, text) {
    await write(from, text);
    await bubble(to, text).waitFor();
    await bubble(from, text).waitFor();
    expect(await bubble(to, text).evaluate((item) => !item.classList.contains('own')), `expected "${text}" to arrive as somebody else's`);
}

let code = 0;

try {
    const [ada, grace] = await Promise.all([open('Ada'), open('Grace')]);
    const ids = await Promise.all([ada, grace].map((page) => page.textContent('#socket-id')));
    expect(ids.every((id) => /^\d+\.\d+$/.test(id)) && ids[0] !== ids[1], `expected two socket ids, found ${ids.join(' and ')}`);

    const before = Number(await ada.textContent('#count'));
    const run = randomUUID().slice(0, 8);
    await exchange(ada, grace, `Hello Grace, does this reach you? (${run})`);
    await exchange(grace, ada, `It does – and quicker than I can type. (${run})`);

    // An echo of a window's own message would leave the server together with the copy that the other
    // window shows before it answers; so once the answer is here, each text stands exactly once, and
    // nothing has to wait for a "never".
    await exchange(ada, grace, `No queue, no HTTP request: shared memory. (${run})`);
    await exchange(grace, ada, `👋 Unicode & <b>markup</b> come through as text. (${run})`);

    for (const [name, page] of [['Ada', ada], ['Grace', grace]]) {
        const texts = await page.locator('.message:not(.past) .text', { hasText: run }).allTextContents();
        expect(texts.length === 4 && new Set(texts).size === 4, `expected 4 different messages in ${name}'s window, found ${JSON.stringify(texts)}`);
        const own = await page.locator('.message.own:not(.past)', { hasText: run }).count();
        expect(own === 2, `expected 2 own messages in ${name}'s window, found ${own}`);
        expect(page.faults.length === 0, `expected no errors in ${name}'s window, found ${page.faults.join('; ')}`);
    }

    // Only a queued broadcast changes the count of an open page.
    await ada.waitForFunction((least) => Number(document.getElementById('count').textContent) >= least, before + 4);
    const latency = await ada.textContent('#latency');

    if (screenshot) {
        await ada.screenshot({ path: screenshot });
        await grace.screenshot({ path: screenshot.replace(/(\.png)?$/, '-2.png') });
    }

    console.log(JSON.stringify({ ok: true, socket_ids: ids, latency }));
} catch (error) {
    console.error(error.message);
    code = 1;
} finally {
    await browser.close();
}

process.exit(code);
