// Presence channels with pusher-js: who is here, who joins, who leaves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './harness/stage.mjs';

const ada = { id: '1', user_info: { name: 'Ada' } };
const grace = { id: '2', user_info: { name: 'Grace', tags: ['x'] } };
const room = 'presence-room';

test('s4_s5_s6 presence here, joining, leaving', async (t) => {
    const stage = await Stage.open(t);
    const first = await stage.subscribe(stage.client({ user: ada }), room);
    assert.deepEqual([first.members.count, first.members.members], [1, { 1: { name: 'Ada' } }]);
    assert.deepEqual(first.members.me, { id: '1', info: { name: 'Ada' } });

    const client = stage.client({ user: grace });
    const second = await stage.subscribe(client, room);
    assert.equal(second.members.count, 2);
    assert.deepEqual(second.members.members, { 1: { name: 'Ada' }, 2: { name: 'Grace', tags: ['x'] } });
    assert.deepEqual(second.members.me, { id: '2', info: grace.user_info });
    assert.deepEqual(await first.journal.next('pusher:member_added'), { id: '2', info: grace.user_info });
    assert.equal(first.members.count, 2);

    client.unsubscribe(room);
    assert.deepEqual(await first.journal.next('pusher:member_removed'), { id: '2', info: grace.user_info });
    assert.equal(first.members.count, 1);
    // Neither the joiner nor the leaver hears of itself.
    assert.deepEqual(second.journal.order('pusher:member_added', 'pusher:member_removed'), []);
});

test('s5_s6 two windows of a user are one member, from the first to the last', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ user: ada });
    const [watcher, elsewhere] = [await stage.subscribe(client, room), await stage.subscribe(client, 'presence-lobby')];
    const [one, two] = [stage.client({ user: grace }), stage.client({ user: grace })];
    await stage.subscribe(one, 'presence-lobby');
    await stage.subscribe(one, room);
    assert.equal((await stage.subscribe(two, room)).members.count, 2);
    one.disconnect();
    await elsewhere.journal.next('pusher:member_removed');
    // The first window has gone, and in the room nothing is told of it.
    await stage.publish(room, 'mark', {});
    await watcher.journal.next('mark');
    two.unsubscribe(room);
    await watcher.journal.next('pusher:member_removed');
    const others = stage.client({ user: { id: '3' } });
    assert.equal((await stage.subscribe(others, room)).members.count, 2);
    await watcher.journal.next('pusher:member_added', ({ id }) => id === '3');
    assert.deepEqual(
        watcher.journal.order('pusher:member_added', 'mark', 'pusher:member_removed'),
        ['pusher:member_added', 'mark', 'pusher:member_removed', 'pusher:member_added'],
    );
});

test('s6 a client whose socket breaks is a member no longer', async (t) => {
    const stage = await Stage.open(t);
    const watcher = await stage.subscribe(stage.client({ user: ada }), room);
    const client = stage.client({ user: grace });
    await stage.subscribe(client, room);
    await watcher.journal.next('pusher:member_added');
    // Without a close frame, as when a tab crashes. The private field is the only way to the socket.
    client.connection.connection.transport.socket._stream.destroy();
    assert.equal((await watcher.journal.next('pusher:member_removed')).id, '2');
});

test('u3 an id that is a number is a string everywhere, and nothing need be said about a member', async (t) => {
    const stage = await Stage.open(t);
    const first = await stage.subscribe(stage.client({ user: { id: 7 } }), room);
    assert.deepEqual([first.members.members, first.members.me], [{ 7: null }, { id: 7, info: null }]);
    const client = stage.client({ user: { id: 8, user_info: 'just a name' } });
    const second = await stage.subscribe(client, room);
    assert.deepEqual(second.members.members, { 7: null, 8: 'just a name' });
    assert.deepEqual(await first.journal.next('pusher:member_added'), { id: '8', info: 'just a name' });
    client.disconnect();
    assert.deepEqual(await first.journal.next('pusher:member_removed'), { id: '8', info: 'just a name' });
});

test('m3 who is signed in joins without channel_data', async (t) => {
    const stage = await Stage.open(t);
    const watcher = await stage.subscribe(stage.client({ user: ada }), room);
    const client = stage.client({
        user: grace,
        channelAuthorization: { customHandler: ({ socketId, channelName }, callback) => callback(null, stage.signer.channel(socketId, channelName)) },
    });
    client.signin();
    const channel = await stage.subscribe(client, room);
    assert.deepEqual(channel.members.me, { id: '2', info: grace.user_info });
    assert.deepEqual(await watcher.journal.next('pusher:member_added'), { id: '2', info: grace.user_info });
});

test('t4_s4 after a reconnection the list is told anew', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ user: ada });
    const channel = await stage.subscribe(client, room);
    await stage.subscribe(stage.client({ user: grace }), room);
    await channel.journal.next('pusher:member_added');
    client.disconnect();
    assert.equal(channel.members.count, 0);
    client.connect();
    await channel.journal.next('pusher:subscription_succeeded');
    assert.deepEqual(channel.members.members, { 1: ada.user_info, 2: grace.user_info });
    assert.deepEqual(channel.members.me, { id: '1', info: ada.user_info });
});
