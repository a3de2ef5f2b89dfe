// Subscriptions that are refused: what the channel and the connection are told, and that the connection lives on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Signer } from './harness/signer.mjs';
import { Stage, listen } from './harness/stage.mjs';

const ada = { id: '1', user_info: { name: 'Ada' } };
const badly = (signer) => ({ customHandler: ({ socketId, channelName }, callback) => callback(null, signer.channel(socketId, channelName, { user_id: '1' })) });

/** The channel hears S14, the connection S13, and both live on: a public channel can still be subscribed. */
async function refused(stage, client, name, { type, status, code }) {
    const channel = listen(client, name);
    const told = await channel.journal.next('pusher:subscription_error');
    assert.deepEqual({ type: told.type, status: told.status }, { type, status });
    assert.equal(typeof told.error, 'string');
    const { type: kind, data } = await client.journal.next('error');
    assert.deepEqual([kind, data.code], ['PusherError', code]);
    assert.equal(client.connection.state, 'connected');
    assert.deepEqual(channel.journal.all('pusher:subscription_succeeded'), []);
    await stage.subscribe(client, 'news');
}

for (const name of ['private-x', 'presence-x', 'private-cache-x', 'presence-cache-x', 'private-encrypted-x', 'private-encrypted-cache-x']) {
    test(`s14_s13_n3 ${name} is refused when it is signed with another secret`, async (t) => {
        const stage = await Stage.open(t);
        const signer = new Signer({ key: stage.server.app.key, secret: 'another' });
        const client = stage.client({ channelAuthorization: badly(signer) });
        await refused(stage, client, name, { type: 'AuthError', status: 401, code: 4009 });
    });
}

test('s14_n3 … or with another key', async (t) => {
    const stage = await Stage.open(t);
    const signer = new Signer({ ...stage.server.app, key: 'another' });
    await refused(stage, stage.client({ channelAuthorization: badly(signer) }), 'private-x', { type: 'AuthError', status: 401, code: 4009 });
});

test('s14 a channel that the server refused is asked for again when the client connects again', async (t) => {
    const stage = await Stage.open(t);
    let signer = new Signer({ ...stage.server.app, secret: 'another' });
    const client = stage.client({
        channelAuthorization: { customHandler: ({ socketId, channelName }, callback) => callback(null, signer.channel(socketId, channelName)) },
    });
    const channel = listen(client, 'private-x');
    await channel.journal.next('pusher:subscription_error');
    signer = stage.signer;
    // pusher-js takes such a channel for pending: to unsubscribe from it and to subscribe again sends nothing.
    client.disconnect();
    client.connect();
    await channel.journal.next('pusher:subscription_succeeded');
});

test('n1_n3 a name that no channel has', async (t) => {
    const stage = await Stage.open(t);
    await refused(stage, stage.client(), 'no spaces', { type: 'ChannelNameError', status: 400, code: 4300 });
    await refused(stage, stage.client(), 'x'.repeat(201), { type: 'ChannelNameError', status: 400, code: 4300 });
});

test('u2 a presence channel that is full; a further window of a member is let in', async (t) => {
    const stage = await Stage.open(t, { limits: { presence_members_max: 1 } });
    const first = await stage.subscribe(stage.client({ user: ada }), 'presence-x');
    await refused(stage, stage.client({ user: { id: '2' } }), 'presence-x', { type: 'LimitReached', status: 429, code: 4100 });
    const again = await stage.subscribe(stage.client({ user: ada }), 'presence-x');
    assert.deepEqual([first.members.count, again.members.count], [1, 1]);
});

test('u2 more about a member than may be said', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ user: { id: '1', user_info: 'x'.repeat(2_047) } });
    await refused(stage, client, 'presence-x', { type: 'LimitReached', status: 429, code: 4100 });
});

test('n4 the channel of another user, and of a user without signing in', async (t) => {
    const stage = await Stage.open(t);
    for (const user of [undefined, ada]) {
        const client = stage.client({ user });
        await client.journal.next('connected');
        if (user) {
            client.signin();
            await client.journal.next('message', ({ event }) => event === 'pusher:signin_success');
        }
        // pusher-js does not let a page name such a channel, so this is what a forged message would be.
        client.send_event('pusher:subscribe', { channel: '#server-to-user-2', auth: '' });
        const { data } = await client.journal.next('message', ({ event }) => event === 'pusher:subscription_error');
        assert.deepEqual([data.type, data.status], ['AuthError', 401]);
        assert.equal((await client.journal.next('error')).data.code, 4009);
        assert.equal(client.connection.state, 'connected');
    }
});

test('a6 the application says no: pusher-js tells it as a subscription error of its own', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ channelAuthorization: { customHandler: (_, callback) => callback(new Error('not yours'), null) } });
    const channel = listen(client, 'private-x');
    assert.deepEqual(await channel.journal.next('pusher:subscription_error'), { type: 'AuthError', error: 'not yours' });
});
