// Events that clients send to each other.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './harness/stage.mjs';

const ada = { id: '1', user_info: { name: 'Ada' } };
const grace = { id: '2', user_info: { name: 'Grace' } };

for (const name of ['private-x', 'private-cache-x', 'presence-x', 'presence-cache-x']) {
    test(`m8_s8 ${name}: every kind of data as it was sent, to the others only`, async (t) => {
        const stage = await Stage.open(t);
        const [sender, other] = [await stage.subscribe(stage.client({ user: ada }), name), await stage.subscribe(stage.client({ user: grace }), name)];
        const metadata = [];
        other.bind('client-typing', (_, of) => metadata.push(of));
        for (const data of [{ at: 3, 'é😀': '\u2028"\\' }, [], 'text', 7, 0, null, false]) {
            sender.trigger('client-typing', data);
            assert.deepEqual(await other.journal.next('client-typing'), data);
        }
        other.trigger('client-answer', {});
        await sender.journal.next('client-answer');
        assert.deepEqual(sender.journal.order('client-typing', 'client-answer'), ['client-answer']);
        // On a presence channel the server says who it was; nothing that the sender claims can.
        assert.deepEqual(metadata[0], name.startsWith('presence-') ? { user_id: '1' } : {});
    });
}

/** The connection is told the code, once for each, and lives on. */
async function rejected(client, code) {
    const { type, data } = await client.journal.next('error');
    assert.deepEqual([type, data.code], ['PusherError', code]);
    assert.equal(typeof data.message, 'string');
    assert.equal(client.connection.state, 'connected');
}

test('u1 a public channel takes no client events', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client();
    const channel = await stage.subscribe(client, 'news');
    channel.trigger('client-typing', {});
    await rejected(client, 4301);
});

test('u1 nor does an encrypted one, whatever a client sends', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client();
    const channel = await stage.subscribe(client, 'private-encrypted-x');
    assert.throws(() => channel.trigger('client-typing', {}), /not currently supported for encrypted channels/);
    client.send_event('client-typing', {}, 'private-encrypted-x');
    await rejected(client, 4301);
});

test('u1 nor a channel that the sender is not subscribed to', async (t) => {
    const stage = await Stage.open(t);
    const [client, other] = [stage.client(), await stage.subscribe(stage.client(), 'private-x')];
    await client.journal.next('connected');
    client.send_event('client-typing', {}, 'private-x');
    await rejected(client, 4009);
    await stage.publish('private-x', 'mark', {});
    await other.journal.next('mark');
    assert.deepEqual(other.journal.all('client-typing'), []);
});

test('u1 nor an app that has them switched off', async (t) => {
    const stage = await Stage.open(t, { app: { client_events: false } });
    const client = stage.client();
    (await stage.subscribe(client, 'private-x')).trigger('client-typing', {});
    await rejected(client, 4301);
});

test('u1_s13 each event beyond the rate is answered by 4301, and the others arrive', async (t) => {
    const stage = await Stage.open(t, { limits: { client_events_per_s: 2 } });
    const client = stage.client();
    const [sender, other] = [await stage.subscribe(client, 'private-x'), await stage.subscribe(stage.client(), 'private-x')];
    // More than any second may have, so that some are refused wherever a second begins.
    for (let n = 0; n < 8; n++) sender.trigger('client-n', n);
    await rejected(client, 4301);
    const last = await stage.subscribe(client, 'news');
    await stage.publish(['news', 'private-x'], 'mark', {});
    await Promise.all([last.journal.next('mark'), other.journal.next('mark')]);
    const arrived = other.journal.all('client-n');
    assert.deepEqual(arrived.slice(0, 2), [0, 1]);
    assert.equal(arrived.length + client.journal.all('error').length, 8);
});
