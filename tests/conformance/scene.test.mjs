// The scene with Laravel Echo: in Node, and the same page in headless Chromium.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import { Application } from './harness/application.mjs';
import { launch } from './harness/browser.mjs';
import { Stage } from './harness/stage.mjs';
import { scene } from './scene.mjs';

const PARTS = 10;
const options = { app: { subscription_count: true } };

async function open(t, url) {
    const browser = await launch(t);
    const page = await browser.newPage();
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    await page.goto(url);
    await page.waitForFunction(() => document.body.dataset.ready === 'yes');

    return { page, faults };
}

test('s3_s4_s5_s6_s7_s8_s9_s10_s11_s12_s13_s14 Echo in Node: every kind of channel, refusals, sign-in, another server', async (t) => {
    const application = await Application.open(t, options);
    const seen = await scene({ ...application.settings, Echo, Pusher });
    assert.equal(seen.length, PARTS);
});

test('s3_s4_s5_s6_s7_s8_s9_s10_s11_s12_s13_s14 Echo in Chromium: the same', async (t) => {
    const application = await Application.open(t, options);
    const { page, faults } = await open(t, application.url);
    const seen = await page.evaluate((settings) => window.play(settings), application.settings);
    assert.equal(seen.length, PARTS);
    assert.deepEqual(faults, []);
});

test('c4_c6_e close codes as Chromium reads them', async (t) => {
    const application = await Application.open(t);
    const [elsewhere, here, full] = [
        await Stage.open(t, { app: { allowed_origins: ['https://example.com'] } }),
        await Stage.open(t, { app: { allowed_origins: [application.url] } }),
        await Stage.open(t, { limits: { connections_max: 1 } }),
    ];
    await full.client().journal.next('connected');
    const { page, faults } = await open(t, application.url);
    const outcome = (settings) => page.evaluate((given) => window.tryToConnect(given), { ...application.settings, ...settings });

    assert.deepEqual(await outcome({}), { settled: 'connected', codes: [], in: [] });
    assert.deepEqual(await outcome({ key: 'another' }), { settled: 'disconnected', codes: [4001], in: [] });
    assert.deepEqual(await outcome({ wsPath: '/elsewhere' }), { settled: 'disconnected', codes: [4005], in: [] });
    assert.deepEqual(await outcome({ port: elsewhere.server.port }), { settled: 'disconnected', codes: [4009], in: [] });
    assert.deepEqual(await outcome({ port: here.server.port }), { settled: 'connected', codes: [], in: [] });
    assert.deepEqual(await outcome({ port: full.server.port, codes: 2 }), { settled: 'connecting', codes: [4100, 4100], in: [1, 1] });
    assert.deepEqual(faults, []);
});
