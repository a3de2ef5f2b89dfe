// permessage-deflate with the WebSockets that people have: Chromium's, Node's own, and `ws`. (The one that pusher-js brings
// for Node offers no compression; all other tests here have it.)

import assert from 'node:assert/strict';
import { test } from 'node:test';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import { WebSocket as Ws } from 'ws';
import { Application } from './harness/application.mjs';
import { launch } from './harness/browser.mjs';
import { Stage, connection } from './harness/stage.mjs';
import { scene } from './scene.mjs';

const AGREED = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const ada = { id: '1', user_info: { name: 'Ada' } };

/** An event of some 4 KB, as of models with their relations. */
const orders = Array.from({ length: 16 }, (_, n) => ({
    id: 4000 + n, status: ['pending', 'paid', 'shipped'][n % 3], customer: { name: 'Ada Lövelace 😀', email: `ada+${n}@example.com` },
    total: `${n * 17}.90`, created_at: '2026-11-24T10:12:13.000000Z', updated_at: '2026-11-24T10:12:13.000000Z', deleted_at: null,
}));

/** `ws` as it compresses everything. */
class CompressingWs extends Ws {
    constructor(url) {
        super(url, { perMessageDeflate: { threshold: 0 } });
    }
}

/** pusher-js with another WebSocket than its own, for one test. */
function lend(t, webSocket) {
    const own = Pusher.Runtime.getWebSocketAPI;
    Pusher.Runtime.getWebSocketAPI = () => webSocket;
    t.after(() => {
        Pusher.Runtime.getWebSocketAPI = own;
    });
}

async function metrics(server, ...names) {
    return Promise.all(names.map((name) => server.metric(name)));
}

for (const [name, webSocket, compresses] of [['ws', CompressingWs, true], ['Node\'s own WebSocket', WebSocket, false]]) {
    test(`c7 pusher-js over ${name}: large events compressed once for all, small ones not`, async (t) => {
        const stage = await Stage.open(t);
        const plain = stage.client({ user: ada, whose: 'one without' });
        const listeners = [await stage.subscribe(plain, 'private-orders')];
        lend(t, webSocket);
        const clients = [1, 2, 3].map((n) => stage.client({ user: ada, whose: `one with ${n}` }));
        for (const client of clients) listeners.push(await stage.subscribe(client, 'private-orders'));
        assert.deepEqual(await metrics(stage.server, 'connections', 'connections_deflating'), [4, 3]);
        for (let n = 1; n <= 3; n++) {
            await stage.publish('private-orders', 'shipped', { n, orders });
            await stage.publish('private-orders', 'small', { n });
            for (const { journal } of listeners) {
                assert.deepEqual(await journal.next('shipped'), { n, orders });
                assert.deepEqual(await journal.next('small'), { n });
            }
        }
        assert.equal(await stage.server.metric('events_deflated_total'), 3);

        clients[0].channel('private-orders').trigger('client-edited', { orders });
        for (const { journal } of [listeners[0], listeners[2]]) assert.deepEqual(await journal.next('client-edited'), { orders });
        const [messages, deflated] = await metrics(stage.server, 'messages_total', 'messages_deflated_total');
        // All but what the one without said: its subscription.
        assert.equal(deflated, compresses ? messages - 1 : 0);
    });
}

test('c7 Chromium agrees to compression, understands what is compressed, and compresses what it sends', async (t) => {
    const application = await Application.open(t);
    const { stage } = application;
    const page = await (await launch(t)).newPage();
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Network.enable');
    const handshake = new Promise((resolve) => devtools.once('Network.webSocketHandshakeResponseReceived', ({ response }) => resolve(response)));
    await page.goto(application.url);
    await page.waitForFunction(() => document.body.dataset.ready === 'yes');
    const outcome = page.evaluate(({ key, base, options }) => new Promise((resolve) => {
        const headers = { 'X-User': 'ada' };
        const pusher = new window.Pusher(key, { ...options, channelAuthorization: { endpoint: `${base}/broadcasting/auth`, headers } });
        const channel = pusher.subscribe('private-orders');
        channel.bind('pusher:subscription_succeeded', () => {
            document.body.dataset.subscribed = 'yes';
        });
        channel.bind('shipped', (data) => {
            channel.trigger('client-edited', data);
            resolve(data);
        });
    }), { ...application.settings, options: connection(stage.server) });
    await page.waitForFunction(() => document.body.dataset.subscribed === 'yes');
    const other = await stage.subscribe(stage.client({ user: ada }), 'private-orders');
    const { headers, headersText } = await handshake;
    assert.equal(Object.entries(headers).find(([name]) => name.toLowerCase() === 'sec-websocket-extensions')?.[1], AGREED, headersText);

    await stage.publish('private-orders', 'shipped', orders);
    assert.deepEqual(await outcome, orders);
    assert.deepEqual(await other.journal.next('client-edited'), orders);
    assert.deepEqual(await metrics(stage.server, 'connections_deflating', 'events_deflated_total'), [1, 1]);
    // Its subscription and its event.
    assert.equal(await stage.server.metric('messages_deflated_total'), 2);
});

const everything = { app: { subscription_count: true }, limits: { deflate_bytes_min: 1 } };

test('c7 everything that an application does, with all that can be compressed compressed: Echo in Chromium', async (t) => {
    const application = await Application.open(t, everything);
    const page = await (await launch(t)).newPage();
    await page.goto(application.url);
    await page.waitForFunction(() => document.body.dataset.ready === 'yes');
    const seen = await page.evaluate((settings) => window.play(settings), application.settings);
    assert.equal(seen.length, 10);
    // Of the server that took over: the first has ended.
    assert.ok(await application.stage.server.metric('messages_deflated_total') > 0);
});

test('c7 everything that an application does, with all that can be compressed compressed: Echo in Node over ws', async (t) => {
    const application = await Application.open(t, everything);
    lend(t, CompressingWs);
    const seen = await scene({ ...application.settings, Echo, Pusher });
    assert.equal(seen.length, 10);
    assert.ok(await application.stage.server.metric('messages_deflated_total') > 0);
});
