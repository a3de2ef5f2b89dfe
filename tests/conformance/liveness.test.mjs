// Pings of both sides, and what happens when one side is silent.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Journal } from './harness/journal.mjs';
import { Stage } from './harness/stage.mjs';

const is = (name) => ({ event }) => event === name;

test('t1_m6_s1 a client that hears nothing pings, is answered, and stays connected', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ activityTimeout: 50 });
    for (let n = 0; n < 3; n++) await client.journal.next('message', is('pusher:pong'));
    assert.deepEqual(client.journal.all('state'), ['connecting', 'connected']);
    const channel = await stage.subscribe(client, 'news');
    await stage.publish('news', 'mark', {});
    await channel.journal.next('mark');
});

test('t1_c3 the activity timeout that the server names is the one that counts', async (t) => {
    const stage = await Stage.open(t, { limits: { activity_timeout_s: 1 } });
    const client = stage.client();
    await client.journal.next('message', is('pusher:pong'));
    assert.equal(client.connection.activityTimeout, 1_000);
    assert.deepEqual(client.journal.all('state'), ['connecting', 'connected']);
});

test('t2_s2_m7 a client on a busy channel never pings; the server asks, pusher-js answers and stays connected', async (t) => {
    const stage = await Stage.open(t, { limits: { activity_timeout_s: 1, pong_timeout_s: 1 } });
    const client = stage.client();
    const channel = await stage.subscribe(client, 'news');
    let busy = true;
    const flow = (async () => {
        while (busy) {
            await stage.publish('news', 'tick', {});
            await channel.journal.next('tick');
        }
    })();
    // The second one is only asked because the first was answered: otherwise the connection would be closed.
    for (let n = 0; n < 3; n++) await client.journal.next('message', is('pusher:ping'));
    busy = false;
    await flow;
    assert.deepEqual(client.journal.all('message').filter(is('pusher:pong')), []);
    assert.deepEqual(client.journal.all('state'), ['connecting', 'connected']);
});

test('t1 a server that does not answer a ping is given up, and found again when it goes on', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({ activityTimeout: 50, pongTimeout: 200 });
    const channel = await stage.subscribe(client, 'news');
    await client.journal.next('message', is('pusher:pong'));
    stage.server.signal('SIGSTOP');
    stage.leave(() => stage.server.signal('SIGCONT'));
    await client.journal.next('state', (state) => state === 'connected');
    await client.journal.next('state', (state) => state === 'connecting' && client.journal.all('state').length > 2);
    stage.server.signal('SIGCONT');
    await client.journal.next('state', (state) => state === 'connected');
    await channel.journal.next('pusher:subscription_succeeded');
    await stage.publish('news', 'mark', {});
    await channel.journal.next('mark');
});

test('t2_e 4201: a client that stood still is closed, and connects again when it goes on', async (t) => {
    const stage = await Stage.open(t, { app: { subscription_count: true }, limits: { activity_timeout_s: 1, pong_timeout_s: 1 } });
    const watcher = await stage.subscribe(stage.client(), 'news');
    await watcher.journal.next('pusher:subscription_count');

    const options = { host: '127.0.0.1', port: stage.server.port, key: stage.server.app.key, channels: ['news'] };
    const script = fileURLToPath(new URL('../browser/subscribe.mjs', import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const said = new Journal('a client in a process of its own');
    createInterface({ input: child.stdout }).on('line', (line) => said.note(JSON.parse(line).type, JSON.parse(line)));
    stage.leave(() => child.kill('SIGKILL'));

    await said.next('subscribed');
    await watcher.journal.next('pusher:subscription_count', ({ subscription_count: count }) => count === 2);
    child.kill('SIGSTOP');
    await watcher.journal.next('pusher:subscription_count', ({ subscription_count: count }) => count === 1);
    child.kill('SIGCONT');
    await said.next('error', ({ code }) => code === 4201);
    await said.next('subscribed');
    await stage.publish('news', 'mark', {});
    await said.next('event', ({ event }) => event === 'mark');
});
