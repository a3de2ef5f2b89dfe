// Pusher's own server SDK for Node against a real server and real WebSocket clients.
//
//   dev/run node --test tests/sdk/node.test.mjs
//
// Names begin with the item of the protocol that they show.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Agent } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import Pusher from 'pusher';
import nacl from 'tweetnacl';
import { Client, startServer } from './server.mjs';

const app = { id: '3', key: '278d425bdf160c739803', secret: '7ad3773142a6692b25b8' };
const masterKey = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const agent = new Agent({ keepAlive: true });

let server;
let pusher;
let clients = [];

const sdk = (options) => new Pusher({
    appId: app.id, key: app.key, secret: app.secret, host: '127.0.0.1', port: server.port, useTLS: false, agent, encryptionMasterKeyBase64: masterKey, ...options,
});

async function connect(...channels) {
    const client = await Client.connect(server.port, app.key);
    clients.push(client);
    for (const channel of channels) await client.subscribe(channel);

    return client;
}

const json = async (response) => (await response).json();

before(async () => {
    server = await startServer(app);
    pusher = sdk();
});

afterEach(() => {
    clients.forEach((client) => client.close());
    clients = [];
});

after(async () => {
    agent.destroy();
    await server.stop();
});

test('a4: authorizeChannel and authenticateUser give the documented signatures', () => {
    const signature = ({ auth }) => auth.slice(app.key.length + 1);
    assert.equal(signature(pusher.authorizeChannel('1234.1234', 'private-foobar')), '58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4');
    assert.equal(
        signature(pusher.authorizeChannel('1234.1234', 'presence-foobar', { user_id: 10, user_info: { name: 'Mr. Pusher' } })),
        'afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c',
    );
    assert.equal(signature(pusher.authenticateUser('1234.1234', { id: '12345' })), '4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba');
});

test('a1 a2 a3: the server takes what the SDK authorizes, and nothing else', async () => {
    const client = await connect();
    await client.subscribe('private-a', pusher.authorizeChannel(client.socketId, 'private-a'));
    const told = await client.subscribe('presence-a', pusher.authorizeChannel(client.socketId, 'presence-a', { user_id: '1', user_info: { name: 'A' } }));
    assert.deepEqual(JSON.parse(told.data), { presence: { count: 1, ids: ['1'], hash: { 1: { name: 'A' } } } });
    const success = await client.signIn(pusher.authenticateUser(client.socketId, { id: '1' }));
    assert.equal(JSON.parse(success.data.user_data).id, '1');
    client.send('pusher:subscribe', { channel: 'private-b', ...pusher.authorizeChannel(client.socketId, 'private-a') });
    assert.equal((await client.event('pusher:subscription_error')).data.status, 401);
});

test('h4: trigger, to one channel and to many', async () => {
    const client = await connect('news', 'sport');
    assert.deepEqual(await json(pusher.trigger('news', 'one', { a: 'ü"\n' })), {});
    const one = await client.event('one');
    assert.deepEqual([one.channel, JSON.parse(one.data)], ['news', { a: 'ü"\n' }]);
    await pusher.trigger(['sport', 'quiet', 'news'], 'many', 'a text');
    assert.deepEqual([await client.event('many'), await client.event('many')].map(({ channel, data }) => [channel, data]), [['sport', 'a text'], ['news', 'a text']]);
    const hundred = Array.from({ length: 100 }, (_, n) => (n === 99 ? 'news' : `channel-${n}`));
    await pusher.trigger(hundred, 'hundred', '');
    assert.equal((await client.event('hundred')).channel, 'news');
    await client.settle();
});

test('h4 h5: info is answered', async () => {
    const client = await connect('news');
    await client.subscribe('presence-a', pusher.authorizeChannel(client.socketId, 'presence-a', { user_id: '1' }));
    assert.deepEqual(await json(pusher.trigger(['news', 'presence-a'], 'e', '', { info: 'user_count,subscription_count' })), {
        channels: { news: { subscription_count: 1 }, 'presence-a': { user_count: 1, subscription_count: 1 } },
    });
    const batch = [{ channel: 'news', name: 'e', data: {} }, { channel: 'presence-a', name: 'e', data: {}, info: 'user_count' }];
    assert.deepEqual(await json(pusher.triggerBatch(batch)), { batch: [{}, { user_count: 1 }] });
});

test('h5: a batch', async () => {
    const client = await connect('news', 'sport');
    const batch = Array.from({ length: 10 }, (_, n) => ({ channel: n % 2 ? 'news' : 'sport', name: `e${n}`, data: { n } }));
    assert.deepEqual(await json(pusher.triggerBatch(batch)), {});
    for (let n = 0; n < 10; n++) assert.deepEqual(JSON.parse((await client.event(`e${n}`)).data), { n });
});

test('h13: the excluded socket is left out', async () => {
    const [sender, other] = [await connect('news'), await connect('news')];
    await pusher.trigger('news', 'e', 'first', { socket_id: sender.socketId });
    await pusher.triggerBatch([{ channel: 'news', name: 'e', data: 'second', socket_id: sender.socketId }, { channel: 'news', name: 'e', data: 'third' }]);
    assert.deepEqual([await other.event('e'), await other.event('e'), await other.event('e')].map(({ data }) => data), ['first', 'second', 'third']);
    assert.equal((await sender.event('e')).data, 'third');
    await sender.settle();
});

test('h6 h7 h8: channels, a channel, users', async () => {
    const client = await connect('h6-news', 'cache-h6');
    await client.event('pusher:cache_miss');
    await client.subscribe('presence-h6', pusher.authorizeChannel(client.socketId, 'presence-h6', { user_id: 'u=1' }));
    const get = (path, params) => json(pusher.get({ path, params }));
    assert.deepEqual(await get('/channels', { filter_by_prefix: 'h6-' }), { channels: { 'h6-news': {} } });
    assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-h6', info: 'user_count,subscription_count' }), { channels: { 'presence-h6': { user_count: 1, subscription_count: 1 } } });
    assert.deepEqual(await get('/channels', { filter_by_prefix: 'nothing' }), { channels: {} });
    assert.deepEqual(await get('/channels/presence-h6', { info: 'user_count' }), { occupied: true, user_count: 1 });
    assert.deepEqual(await get('/channels/nobody'), { occupied: false });
    assert.deepEqual(await get('/channels/presence-h6/users'), { users: [{ id: 'u=1' }] });
    await pusher.trigger('cache-h6', 'e', 'last');
    assert.equal((await get('/channels/cache-h6', { info: 'cache' })).cache.data, 'last');
    await assert.rejects(pusher.get({ path: '/channels', params: { info: 'user_count' } }), { status: 400 });
});

test('h9: terminateUserConnections', async () => {
    const [signedIn, member, other] = [await connect(), await connect(), await connect('news')];
    await signedIn.signIn(pusher.authenticateUser(signedIn.socketId, { id: 'a b/c' }));
    await member.subscribe('presence-h9', pusher.authorizeChannel(member.socketId, 'presence-h9', { user_id: 'a b/c' }));
    assert.deepEqual(await json(pusher.terminateUserConnections('a b/c')), {});
    assert.deepEqual([await signedIn.closed(), await member.closed()], [4009, 4009]);
    await other.settle();
});

test('n4: sendToUser', async () => {
    const [first, second, other] = [await connect(), await connect(), await connect()];
    for (const client of [first, second]) {
        await client.signIn(pusher.authenticateUser(client.socketId, { id: '7' }));
        await client.subscribe('#server-to-user-7');
    }
    await pusher.sendToUser('7', 'e', { a: 1 });
    for (const client of [first, second]) {
        const { channel, data } = await client.event('e');
        assert.deepEqual([channel, JSON.parse(data)], ['#server-to-user-7', { a: 1 }]);
    }
    await other.settle();
});

test('a5: what is triggered on an encrypted channel is read with the shared secret', async () => {
    const channel = 'private-encrypted-foo';
    const client = await connect();
    const authorization = pusher.authorizeChannel(client.socketId, channel);
    assert.equal(authorization.shared_secret, 'mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=');
    await client.subscribe(channel, authorization);
    await pusher.trigger(channel, 'e', { secret: 'ü' });
    const { nonce, ciphertext } = JSON.parse((await client.event('e')).data);
    const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));
    const opened = nacl.secretbox.open(bytes(ciphertext), bytes(nonce), bytes(authorization.shared_secret));
    assert.deepEqual(JSON.parse(Buffer.from(opened).toString()), { secret: 'ü' });
    // The SDK refuses this by itself; what refuses it here is the server.
    const body = { name: 'e', data: '{}', channels: [channel, 'news'] };
    await assert.rejects(pusher.post({ path: '/events', body }), { status: 400 });
});

test('h11: the SDK hears what is wrong', async () => {
    const status = (options) => sdk(options).trigger('news', 'e', '').then(() => 200, ({ status, body }) => [status, JSON.parse(body).error.code]);
    assert.deepEqual(await status({ secret: 'another' }), [401, 'auth_signature']);
    assert.deepEqual(await status({ key: 'another' }), [401, 'auth_key']);
    assert.deepEqual(await status({ appId: '4' }), [404, 'app_unknown']);
    await assert.rejects(pusher.trigger('news', 'e', 'x'.repeat(262_145)), { status: 413 });
    await assert.rejects(pusher.triggerBatch(Array.from({ length: 11 }, () => ({ channel: 'a', name: 'e', data: '' }))), { status: 400 });
});

test('h12: connections are kept alive', async () => {
    const own = new Agent({ keepAlive: true, maxSockets: 1 });
    const used = new Set();
    own.on('free', ({ localPort }) => used.add(localPort));
    for (let n = 0; n < 5; n++) await json(sdk({ agent: own }).trigger('news', 'e', ''));
    await json(sdk({ agent: own }).get({ path: '/channels' }));
    own.destroy();
    assert.equal(used.size, 1, 'six requests over one connection');
});

test('w: the SDK verifies a webhook that is signed with the app\'s secret', () => {
    const rawBody = '{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"news"}]}';
    const signature = createHmac('sha256', app.secret).update(rawBody).digest('hex');
    const webhook = (signature) => pusher.webhook({ rawBody, headers: { 'content-type': 'application/json', 'x-pusher-key': app.key, 'x-pusher-signature': signature } });
    assert.ok(webhook(signature).isValid());
    assert.deepEqual(webhook(signature).getEvents(), [{ name: 'channel_occupied', channel: 'news' }]);
    assert.ok(!webhook(`${signature.slice(1)}${signature[0]}`).isValid());
});
