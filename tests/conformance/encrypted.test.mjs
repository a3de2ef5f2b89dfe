// Encrypted channels: PHP encrypts with libsodium, pusher-js decrypts, and the server sees neither key nor text.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import Pusher from 'pusher-js';
import { Journal } from './harness/journal.mjs';
import { Signer } from './harness/signer.mjs';
import { Stage, listen } from './harness/stage.mjs';

const name = 'private-encrypted-mail';

/** What pusher-js logs, which is where it tells of what it cannot decrypt. */
function logOf(t) {
    const log = new Journal('what pusher-js logs');
    Pusher.log = (line) => log.note('line', line);
    t.after(() => delete Pusher.log);

    return log;
}

test('a5 the shared secret of the vector', () => {
    const signer = new Signer({ key: 'k', secret: 's', masterKey: Buffer.from('0123456789abcdef0123456789abcdef') });
    assert.equal(signer.sharedSecret('private-encrypted-foo'), 'mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=');
});

test('a5_n2 pusher-js decrypts what PHP has encrypted; the server passes it through', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client();
    const channel = await stage.subscribe(client, name);
    for (const data of [{ text: 'é😀', list: [1] }, 'text', [], null, 0]) {
        await stage.publish(name, 'letter', data, { masterKey: stage.masterKey });
        assert.deepEqual(await channel.journal.next('letter'), data);
    }
    const passed = await client.journal.next('message', ({ event }) => event === 'letter');
    assert.deepEqual(Object.keys(passed.data).toSorted(), ['ciphertext', 'nonce']);
    assert.equal(Buffer.from(passed.data.nonce, 'base64').length, 24);
});

test('a5 a key that was changed is asked for again, and the event is not lost', async (t) => {
    const stage = await Stage.open(t);
    let key = Buffer.alloc(32, 'old');
    const client = stage.client({
        channelAuthorization: {
            customHandler: ({ socketId, channelName }, callback) => callback(null, new Signer({ ...stage.server.app, masterKey: key }).channel(socketId, channelName)),
        },
    });
    const channel = await stage.subscribe(client, name);
    key = Buffer.alloc(32, 'new');
    await stage.publish(name, 'letter', { n: 1 }, { masterKey: key });
    assert.deepEqual(await channel.journal.next('letter'), { n: 1 });
});

test('a5 with the wrong shared secret nothing is heard, and pusher-js says so', async (t) => {
    const stage = await Stage.open(t);
    const log = logOf(t);
    const client = stage.client({
        channelAuthorization: {
            customHandler: ({ socketId, channelName }, callback) => callback(null, { ...stage.signer.channel(socketId, channelName), shared_secret: Buffer.alloc(32).toString('base64') }),
        },
    });
    const channel = await stage.subscribe(client, name);
    await stage.publish(name, 'letter', {}, { masterKey: stage.masterKey });
    await log.next('line', (line) => line.includes('Failed to decrypt event with new key. Dropping encrypted event'));
    assert.deepEqual(channel.journal.all('letter'), []);
    assert.equal(client.connection.state, 'connected');
});

test('a5 what is published in the clear is not taken for an encrypted event', async (t) => {
    const stage = await Stage.open(t);
    const log = logOf(t);
    const channel = await stage.subscribe(stage.client(), name);
    await stage.publish(name, 'letter', { text: 'in the clear' });
    await log.next('line', (line) => line.includes('Unexpected format for encrypted event'));
    assert.deepEqual(channel.journal.all('letter'), []);
});

test('a5 without a shared secret pusher-js does not subscribe', async (t) => {
    const stage = await Stage.open(t);
    const client = stage.client({
        channelAuthorization: { customHandler: ({ socketId }, callback) => callback(null, stage.signer.channel(socketId, 'private-other')) },
    });
    const { type, error } = await listen(client, name).journal.next('pusher:subscription_error');
    assert.equal(type, 'AuthError');
    assert.match(error, /No shared_secret key/);
});
