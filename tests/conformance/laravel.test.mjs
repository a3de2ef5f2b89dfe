// The whole way, with nothing in anybody's place: a Laravel application with sessions serves the page and
// `/broadcasting/auth`, Echo in Chromium connects with its defaults, and PHP broadcasts through the extension.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from './harness/browser.mjs';
import { Journal } from './harness/journal.mjs';
import { Stage } from './harness/stage.mjs';

/** PHP's web server takes no port of the kernel's choice, so one is asked for and given back. */
function freePort() {
    return new Promise((resolve) => {
        const probe = createServer().listen(0, '127.0.0.1', () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
}

/** Serves tests/conformance/laravel, and gives its URL. */
async function serve(stage) {
    const { server: { app, socket, port: websocketPort, directory } } = stage;
    for (const path of ['bootstrap/cache', 'storage/framework/sessions', 'storage/framework/views', 'storage/framework/cache/data', 'storage/logs']) {
        mkdirSync(join(directory, path), { recursive: true });
    }
    const environment = {
        APP_KEY: `base64:${randomBytes(32).toString('base64')}`,
        APP_DEBUG: 'true',
        BROADCAST_CONNECTION: 'fanfare',
        FANFARE_APP_ID: app.id,
        FANFARE_APP_KEY: app.key,
        FANFARE_APP_SECRET: app.secret,
        FANFARE_ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64'),
        FANFARE_SOCKET: socket,
        FANFARE_CONNECT_TIMEOUT_MS: '10000',
        QUEUE_CONNECTION: 'sync',
        SESSION_DRIVER: 'file',
        CACHE_STORE: 'array',
    };
    writeFileSync(join(directory, '.env'), Object.entries(environment).map(([name, value]) => `${name}="${value}"\n`).join(''));

    const port = await freePort();
    const index = fileURLToPath(new URL('laravel/index.php', import.meta.url));
    const child = spawn('php', ['-S', `127.0.0.1:${port}`, index], {
        env: { ...process.env, SCRATCH: directory, WEBSOCKET_PORT: String(websocketPort) },
        stdio: ['ignore', 'ignore', 'pipe'],
    });
    const log = new Journal('PHP\'s web server');
    createInterface({ input: child.stderr }).on('line', (line) => log.note(line.includes('Development Server') ? 'started' : 'line', line));
    stage.leave(() => new Promise((resolve) => {
        child.once('close', resolve);
        child.kill();
    }));
    await log.next('started');

    return `http://127.0.0.1:${port}`;
}

/** A visitor's window: a page of the application in which somebody is logged in. */
async function visit(browser, url, id) {
    const page = await (await browser.newContext()).newPage();
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(error.message));
    await page.goto(`${url}/login/${id}`);
    await page.waitForFunction(() => window.echo?.connectionStatus() === 'connected');

    return page;
}

const next = (page, what) => page.evaluate((name) => window.journal.next(name), what);
const all = (page, what) => page.evaluate((name) => window.journal.all(name), what);

const post = (page, path, body = {}, { toOthers } = {}) => page.evaluate(async ([to, data, others]) => {
    const headers = { 'content-type': 'application/json', accept: 'application/json', 'X-CSRF-TOKEN': document.querySelector('meta[name="csrf-token"]').content };
    if (others) headers['X-Socket-ID'] = window.echo.socketId();
    const response = await fetch(to, { method: 'POST', headers, body: JSON.stringify(data) });
    if (!response.ok) throw new Error(`${to}: ${response.status} ${await response.text()}`);
}, [path, body, toOthers]);

test('a5_a6_s4_s5_s6_s7_s11_s12_s14 Laravel authorizes, Echo in Chromium subscribes and hears what Laravel broadcasts', async (t) => {
    const stage = await Stage.open(t, { limits: { user_settle_ms: 0 } });
    const url = await serve(stage);
    const browser = await launch(t);
    const ada = await visit(browser, url, 1);

    await ada.evaluate(() => {
        const { echo, note } = window;
        echo.private('orders.1').subscribed(note('orders subscribed')).listen('OrderShipped', note('order'));
        echo.private('App.Models.User.1').subscribed(note('user subscribed')).notification(note('notification'));
        echo.private('orders.2').error(note('refused'));
        echo.private('cache-rates').on('pusher:cache_miss', note('miss'));
        echo.encryptedPrivate('mail').subscribed(note('mail subscribed')).listen('LetterSent', note('letter'));
        echo.connector.pusher.connection.bind('message', ({ event, channel, data }) => event === 'App\\Events\\LetterSent' && channel === 'private-encrypted-mail' && note('letter as it came')(Object.keys(data).sort()));
        echo.join('room').here(note('here')).joining(note('joining')).leaving(note('leaving'));
        const { user } = echo.connector.pusher;
        user.bind('reminder', note('reminder'));
        user.watchlist.bind('online', ({ user_ids: ids }) => note('online')(ids));
        user.watchlist.bind('offline', ({ user_ids: ids }) => note('offline')(ids));
        echo.connector.pusher.connection.bind('message', ({ event, channel }) => event === 'pusher_internal:subscription_succeeded' && channel === '#server-to-user-1' && note('signed in')(channel));
        echo.connector.signin();
    });
    await next(ada, 'orders subscribed');
    await next(ada, 'user subscribed');
    await next(ada, 'miss');
    assert.deepEqual(await next(ada, 'here'), [{ name: 'Ada' }]);
    const refused = await next(ada, 'refused');
    assert.deepEqual([refused.type, refused.status], ['AuthError', 403]);

    const grace = await visit(browser, url, 2);
    await grace.evaluate(() => {
        const { echo, note } = window;
        echo.join('room').here(note('here')).listen('OrderShipped', note('order'));
        echo.private('cache-rates').subscribed(note('rates subscribed')).listen('OrderShipped', note('rate'));
    });
    assert.deepEqual(await next(grace, 'here'), [{ name: 'Ada' }, { name: 'Grace' }]);
    assert.deepEqual(await next(ada, 'joining'), { name: 'Grace' });
    await next(grace, 'rates subscribed');

    // To others only: Grace hears it, Ada's own window hears the second one first.
    await post(ada, '/ship', { order: 1 }, { toOthers: true });
    assert.deepEqual(await next(grace, 'order'), { order: 1 });
    assert.deepEqual(await next(grace, 'rate'), { order: 1 });
    await post(ada, '/ship', { order: 2 });
    assert.deepEqual(await next(ada, 'order'), { order: 2 });
    assert.deepEqual(await all(ada, 'order'), [{ order: 2 }]);

    await next(ada, 'mail subscribed');
    await post(ada, '/write', { text: 'é😀' });
    assert.deepEqual(await next(ada, 'letter'), { text: 'é😀' });
    assert.deepEqual(await next(ada, 'letter as it came'), ['ciphertext', 'nonce']);

    await post(ada, '/pay');
    const { id, type, amount } = await next(ada, 'notification');
    assert.deepEqual([typeof id, type, amount], ['string', 'App\\Notifications\\InvoicePaid', 42]);

    await next(ada, 'signed in');
    await post(ada, '/remind');
    assert.deepEqual(await next(ada, 'reminder'), { of: 'Ada' });
    assert.deepEqual([await next(ada, 'online'), await next(ada, 'offline')], [['1'], ['2']]);
    await grace.evaluate(() => window.echo.connector.signin());
    assert.deepEqual(await next(ada, 'online'), ['2']);

    // A page that is loaded again finds the last event of the cache channel.
    await grace.reload();
    assert.deepEqual(await next(ada, 'leaving'), { name: 'Grace' });
    await grace.evaluate(() => window.echo.private('cache-rates').listen('OrderShipped', window.note('rate')));
    assert.deepEqual(await next(grace, 'rate'), { order: 2 });
    assert.deepEqual([ada.faults, grace.faults], [[], []]);
});
