// Channels of every kind with pusher-js: what a subscriber gets, and what a cache channel remembers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage, listen } from './harness/stage.mjs';

const ada = { id: '1', user_info: { name: 'Ada' } };
const grace = { id: '2', user_info: { name: 'Grace' } };

test('c1_c3 pusher-js connects, and its socket id is one that the PHP library takes', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client();
    const { socket_id: id } = await client.journal.next('connected');
    assert.match(id, /^\d+\.\d+$/);
    assert.equal(client.connection.socket_id, id);
    assert.equal(client.connection.activityTimeout, 120_000);
});

for (const [kind, channel] of [['public', 'news'], ['private', 'private-orders'], ['presence', 'presence-room']]) {
    test(`n2_s3_s7 a ${kind} channel: subscribed, then its events, with every kind of data`, async (t) => {
        const stage = await Stage.open(t);
        const heard = await stage.subscribe(stage.client({ user: ada }), channel);
        for (const data of [{ id: 1, text: 'é😀\u2028"\\' }, [], [1, [2]], 'text', '', 7, 0, null, true, { deep: { er: {} } }]) {
            await stage.publish(channel, 'App\\Events\\Shipped', data);
            assert.deepEqual(await heard.journal.next('App\\Events\\Shipped'), data);
        }
        assert.equal(heard.journal.all('pusher:subscription_succeeded').length, 1);
    });
}

test('s15 subscribed comes before the first event, however busy the channel is', async (t) => {
    const stage = await Stage.open(t);
    const early = await stage.subscribe(stage.client(), 'news');
    let busy = true;
    const flow = (async () => {
        while (busy) await stage.publish('news', 'tick', {});
    })();
    for (let round = 0; round < 20; round++) {
        const late = listen(stage.client({ whose: `client ${round}` }), 'news');
        await late.journal.next('tick');
        assert.equal(late.journal.order('pusher:subscription_succeeded', 'tick')[0], 'pusher:subscription_succeeded');
    }
    busy = false;
    await flow;
    await early.journal.next('tick');
});

test('h4 one publication to many channels; who is excluded by its socket id does not hear it', async (t) => {
    const stage = await Stage.open(t);
    const [sender, other] = [stage.client(), stage.client({ user: ada })];
    const [own, theirs, rest] = [await stage.subscribe(sender, 'a'), await stage.subscribe(other, 'a'), await stage.subscribe(other, 'private-b')];
    await stage.publish(['a', 'private-b'], 'first', {}, { except: sender.connection.socket_id });
    await stage.publish('a', 'second', {});
    await own.journal.next('second');
    assert.deepEqual(own.journal.order('first', 'second'), ['second']);
    await Promise.all([theirs.journal.next('first'), rest.journal.next('first')]);
});

test('m4_n5 who unsubscribes hears nothing more, and may come back', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client();
    const [first, marker] = [await stage.subscribe(client, 'news'), await stage.subscribe(client, 'marker')];
    client.unsubscribe('news');
    // The server has read what came before this subscription.
    await stage.subscribe(client, 'news-2');
    await stage.publish('news', 'missed', {});
    await stage.publish('marker', 'mark', {});
    await marker.journal.next('mark');
    assert.deepEqual(first.journal.all('missed'), []);
    assert.equal(client.journal.all('message').filter(({ event }) => event === 'missed').length, 0);
    const again = await stage.subscribe(client, 'news');
    await stage.publish('news', 'heard', {});
    await again.journal.next('heard');
});

for (const prefix of ['cache-', 'private-cache-', 'presence-cache-', 'private-encrypted-cache-']) {
    test(`s9_n2 ${prefix}: a miss, then the last event at once, also after the last subscriber has left`, async (t) => {
        const stage = await Stage.open(t);
        const [name, client] = [`${prefix}rates`, stage.client({ user: ada })];
        const masterKey = prefix.includes('encrypted') ? stage.masterKey : undefined;
        const early = await stage.subscribe(client, name);
        await early.journal.next('pusher:cache_miss');
        assert.deepEqual(
            early.journal.order('pusher:subscription_succeeded', 'pusher:cache_miss'),
            ['pusher:subscription_succeeded', 'pusher:cache_miss'],
        );
        await stage.publish(name, 'rate', { eur: 1 }, { masterKey });
        assert.deepEqual(await early.journal.next('rate'), { eur: 1 });
        client.unsubscribe(name);
        // Nobody is subscribed; this is remembered all the same.
        await stage.publish(name, 'rate', { eur: 2 }, { masterKey });

        const late = await stage.subscribe(stage.client({ user: grace }), name);
        assert.deepEqual(await late.journal.next('rate'), { eur: 2 });
        assert.deepEqual(late.journal.order('pusher:subscription_succeeded', 'rate', 'pusher:cache_miss'), ['pusher:subscription_succeeded', 'rate']);
    });
}

test('s9 client events are not remembered', async (t) => {
    const stage = await Stage.open(t);
    const [one, two] = [await stage.subscribe(stage.client(), 'private-cache-x'), await stage.subscribe(stage.client(), 'private-cache-x')];
    one.trigger('client-typing', {});
    await two.journal.next('client-typing');
    const late = await stage.subscribe(stage.client(), 'private-cache-x');
    await late.journal.next('pusher:cache_miss');
});

test('s10 subscription_count: pusher-js counts along', async (t) => {
    const stage = await Stage.open(t, { app: { subscription_count: true } });
    for (const name of ['news', 'private-orders', 'private-encrypted-mail']) {
        const first = await stage.subscribe(stage.client(), name);
        assert.deepEqual(await first.journal.next('pusher:subscription_count'), { subscription_count: 1 });
        const client = stage.client();
        const second = await stage.subscribe(client, name);
        assert.deepEqual(await second.journal.next('pusher:subscription_count'), { subscription_count: 2 });
        assert.deepEqual(await first.journal.next('pusher:subscription_count'), { subscription_count: 2 });
        assert.deepEqual([first.subscriptionCount, second.subscriptionCount], [2, 2]);
        client.unsubscribe(name);
        assert.deepEqual(await first.journal.next('pusher:subscription_count'), { subscription_count: 1 });
        assert.equal(first.subscriptionCount, 1);
    }
});

test('s10 a presence channel is not counted: it has members', async (t) => {
    const stage = await Stage.open(t, { app: { subscription_count: true } });
    const [one, two] = [await stage.subscribe(stage.client({ user: ada }), 'presence-x'), await stage.subscribe(stage.client({ user: grace }), 'presence-x')];
    await stage.publish('presence-x', 'mark', {});
    await Promise.all([one.journal.next('mark'), two.journal.next('mark')]);
    assert.deepEqual([...one.journal.all('pusher:subscription_count'), ...two.journal.all('pusher:subscription_count')], []);
});
