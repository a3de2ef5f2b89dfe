// Signing in: events for one user, and a watchlist.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Journal } from './harness/journal.mjs';
import { Signer } from './harness/signer.mjs';
import { Stage } from './harness/stage.mjs';

const ada = { id: '1', user_info: { name: 'Ada' } };

/** Signs in and waits until the user's own channel is subscribed; the user's events are in `client.user.journal`. */
async function signIn(stage, user) {
    const client = stage.client({ user });
    client.user.journal = new Journal(`user ${user.id}`);
    client.user.bind_global((event, data) => client.user.journal.note(event, data));
    for (const turn of ['online', 'offline']) client.user.watchlist.bind(turn, ({ user_ids: ids }) => client.user.journal.note(turn, ids));
    client.signin();
    await subscribedToUser(client, user.id);

    return client;
}

const subscribedToUser = (client, id) => client.journal.next('message', ({ event, channel }) => event === 'pusher_internal:subscription_succeeded' && channel === `#server-to-user-${id}`);

test('m5_s11_n4 signed in, a user hears on all its connections what is sent to it, and nobody else does', async (t) => {
    const stage = await Stage.open(t);
    const [one, two, other] = [await signIn(stage, ada), await signIn(stage, ada), await signIn(stage, { id: '2' })];
    assert.deepEqual(one.user.user_data, ada);
    await stage.publish('#server-to-user-1', 'invoice', { n: 1 });
    await stage.publish('#server-to-user-2', 'invoice', { n: 2 });
    assert.deepEqual(await one.user.journal.next('invoice'), { n: 1 });
    assert.deepEqual(await two.user.journal.next('invoice'), { n: 1 });
    assert.deepEqual(await other.user.journal.next('invoice'), { n: 2 });
    assert.deepEqual(one.user.journal.all('invoice'), [{ n: 1 }]);
});

test('s11 an id that is a number is told as a string, or pusher-js would not take it', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ user: { id: 7 } });
    client.signin();
    await subscribedToUser(client, '7');
    assert.equal(client.user.user_data.id, '7');
});

test('u4 a wrong signature: 4009 on the connection, which lives on', async (t) => {
    const stage = await Stage.open(t);
    const wrong = new Signer({ ...stage.server.app, secret: 'another' });
    const client = stage.client({ userAuthentication: { customHandler: ({ socketId }, callback) => callback(null, wrong.user(socketId, ada)) } });
    client.signin();
    assert.equal((await client.journal.next('error')).data.code, 4009);
    assert.equal(client.connection.state, 'connected');
    await stage.subscribe(client, 'news');
});

test('a6 the application does not vouch for its visitor: pusher:signin_error', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ userAuthentication: { customHandler: (_, callback) => callback(new Error('nobody'), null) } });
    const told = new Journal('the user');
    client.user.bind('pusher:signin_error', (error) => told.note('error', error));
    client.signin();
    assert.deepEqual(await told.next('error'), { type: 'AuthError', error: 'nobody' });
});

test('t4 after a reconnection the user is signed in again', async (t) => {
    const stage = await Stage.open(t);
    const client = await signIn(stage, ada);
    client.disconnect();
    client.connect();
    await subscribedToUser(client, '1');
    await stage.publish('#server-to-user-1', 'invoice', { n: 1 });
    assert.deepEqual(await client.user.journal.next('invoice'), { n: 1 });
});

test('s12_u5 watchlist: who is online at sign-in, who comes and who goes', async (t) => {
    const stage = await Stage.open(t, { limits: { user_settle_ms: 0 } });
    await signIn(stage, { id: '2' });
    const { journal } = (await signIn(stage, { ...ada, watchlist: ['2', '3', '4'] })).user;
    assert.deepEqual(await journal.next('online'), ['2']);
    assert.deepEqual(await journal.next('offline'), ['3', '4']);

    const third = await signIn(stage, { id: '3' });
    assert.deepEqual(await journal.next('online'), ['3']);
    const again = await signIn(stage, { id: '3' });
    third.disconnect();
    again.disconnect();
    assert.deepEqual(await journal.next('offline'), ['3']);
    // A second window was told to nobody, and the end of the first one neither.
    assert.deepEqual([journal.all('online').length, journal.all('offline').length], [2, 2]);
});

test('u5 a reload is told to nobody', async (t) => {
    const stage = await Stage.open(t, { limits: { user_settle_ms: 60_000 } });
    const reloading = await signIn(stage, { id: '2' });
    const { journal } = (await signIn(stage, { ...ada, watchlist: ['2', '3'] })).user;
    await journal.next('online');
    reloading.disconnect();
    reloading.connect();
    await subscribedToUser(reloading, '2');
    await signIn(stage, { id: '3' });
    assert.deepEqual(await journal.next('online'), ['3']);
    assert.deepEqual([journal.all('online'), journal.all('offline')], [[['2'], ['3']], [['3']]]);
});

test('u5_s13 a watchlist that is too long: 4302, and its first users are watched', async (t) => {
    const stage = await Stage.open(t, { limits: { watchlist_users_max: 2 } });
    await signIn(stage, { id: '2' });
    const client = await signIn(stage, { ...ada, watchlist: ['3', '2', '4'] });
    assert.equal((await client.journal.next('error')).data.code, 4302);
    assert.deepEqual(await client.user.journal.next('online'), ['2']);
    assert.deepEqual(await client.user.journal.next('offline'), ['3']);
    await stage.publish('#server-to-user-1', 'invoice', {});
    await client.user.journal.next('invoice');
});
