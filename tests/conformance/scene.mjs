// One scene with Laravel Echo, played in Node and in Chromium: everything that an application does with channels.
//
// Two visitors, Ada (broadcaster `reverb`) and Grace (broadcaster `pusher`), of the application in
// harness/application.mjs. Gives a list of what was seen, the same in both places; throws what was expected.

import { Journal } from './harness/journal.mjs';

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function expect(what, found, expected) {
    if (!same(found, expected)) throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

class Visitor {
    constructor({ Echo, Pusher, key, port, base }, name, broadcaster) {
        const headers = { 'X-User': name };
        this.base = base;
        this.journal = new Journal(name);
        this.echo = new Echo({
            broadcaster,
            ...(broadcaster === 'pusher' ? { cluster: '' } : {}),
            Pusher,
            key,
            wsHost: '127.0.0.1',
            wsPort: port,
            wssPort: port,
            forceTLS: false,
            enabledTransports: ['ws', 'wss'],
            authEndpoint: `${base}/broadcasting/auth`,
            auth: { headers },
            userAuthentication: { endpoint: `${base}/broadcasting/user-auth`, headers },
        });
        this.pusher = this.echo.connector.pusher;
        this.pusher.connection.bind('error', ({ data, error }) => this.journal.note('error', (data ?? error?.data)?.code));
        this.echo.connector.onConnectionChange((status) => this.journal.note('status', status));
    }

    note = (what) => (value) => this.journal.note(what, value);

    next = (what, matches) => this.journal.next(what, matches);

    /** Until the subscription holds; it is noted again when it holds again. */
    async subscribed(channel) {
        channel.subscribed(this.note(`subscribed ${channel.name}`));
        await this.next(`subscribed ${channel.name}`);

        return channel;
    }

    async post(path, body, headers = {}) {
        const response = await fetch(this.base + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
        if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);

        return response.json();
    }

    broadcast(channels, event, data = {}, { encrypted, toOthers } = {}) {
        return this.post('/broadcast', { channels: [channels].flat(), event, data, encrypted }, toOthers ? { 'X-Socket-ID': this.echo.socketId() } : {});
    }
}

async function publicChannel(ada, grace) {
    const channel = await ada.subscribed(ada.echo.channel('news'));
    channel.listen('OrderShipped', ada.note('listen')).listen('.plain', ada.note('plain'));
    channel.listenToAll((event, data) => ada.journal.note('all', [event, data]));
    await ada.broadcast('news', 'App\\Events\\OrderShipped', { id: 1 });
    expect('listen', await ada.next('listen'), { id: 1 });
    expect('listenToAll', await ada.next('all'), ['OrderShipped', { id: 1 }]);
    await ada.broadcast('news', 'plain', []);
    expect('listen to a plain name', await ada.next('plain'), []);
    expect('listenToAll', await ada.next('all'), ['.plain', []]);

    (await grace.subscribed(grace.echo.channel('news'))).listen('.plain', grace.note('plain'));
    await ada.broadcast('news', 'plain', { to: 'others' }, { toOthers: true });
    expect('toOthers', await grace.next('plain'), { to: 'others' });
    channel.stopListening('.plain');
    await ada.broadcast('news', 'plain', { to: 'all' });
    await grace.next('plain');
    expect('the sender of toOthers hears the next one only', await ada.next('all'), ['.plain', { to: 'all' }]);
    expect('stopListening', ada.journal.all('plain').length, 1);

    return 'public: listen, listenToAll, toOthers, stopListening';
}

async function privateChannel(ada, grace) {
    const [own, theirs] = [await ada.subscribed(ada.echo.private('orders')), await grace.subscribed(grace.echo.private('orders'))];
    own.listen('OrderShipped', ada.note('listen')).listenForWhisper('typing', ada.note('whisper'));
    theirs.listenForWhisper('typing', grace.note('whisper'));
    await ada.broadcast('private-orders', 'App\\Events\\OrderShipped', { id: 2 });
    expect('listen', await ada.next('listen'), { id: 2 });
    own.whisper('typing', { by: 'Ada' });
    expect('whisper', await grace.next('whisper'), { by: 'Ada' });
    theirs.whisper('typing', { by: 'Grace' });
    expect('whisper, and no echo of the own one', [await ada.next('whisper'), ada.journal.all('whisper').length], [{ by: 'Grace' }, 1]);

    const user = await ada.subscribed(ada.echo.private('App.Models.User.1'));
    user.notification(ada.note('notification'));
    const notification = { id: 'uuid', type: 'App\\Notifications\\InvoicePaid', amount: 1 };
    await ada.broadcast('private-App.Models.User.1', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', notification);
    expect('notification', await ada.next('notification'), notification);

    return 'private: listen, whisper, notification';
}

async function presenceChannel(ada, grace) {
    const room = ada.echo.join('room');
    room.here(ada.note('here')).joining(ada.note('joining')).leaving(ada.note('leaving')).listen('OrderShipped', ada.note('listen'));
    expect('here', await ada.next('here'), [{ name: 'Ada' }]);
    const theirs = grace.echo.join('room').here(grace.note('here')).listenForWhisper('typing', (data) => grace.journal.note('whisper', data));
    expect('here', await grace.next('here'), [{ name: 'Ada' }, { name: 'Grace' }]);
    expect('joining', await ada.next('joining'), { name: 'Grace' });
    theirs.subscription.bind('client-typing', (_, metadata) => grace.journal.note('by', metadata));
    room.whisper('typing', { at: 3 });
    expect('whisper', await grace.next('whisper'), { at: 3 });
    expect('who whispered', await grace.next('by'), { user_id: '1' });
    await ada.broadcast('presence-room', 'App\\Events\\OrderShipped', { id: 3 });
    expect('listen', await ada.next('listen'), { id: 3 });
    grace.echo.leave('room');
    expect('leaving', await ada.next('leaving'), { name: 'Grace' });

    return 'presence: here, joining, leaving, whisper, listen, leave';
}

async function encryptedChannel(ada) {
    const channel = await ada.subscribed(ada.echo.encryptedPrivate('mail'));
    channel.listen('OrderShipped', ada.note('listen'));
    await ada.broadcast('private-encrypted-mail', 'App\\Events\\OrderShipped', { text: 'é😀' }, { encrypted: true });
    expect('listen', await ada.next('listen'), { text: 'é😀' });

    return 'encrypted: decrypted by the client';
}

async function cacheChannels(ada) {
    const kinds = [['cache-rates', (name) => ada.echo.channel(name)], ['private-cache-rates', (name) => ada.echo.private(name.slice(8))], ['presence-cache-rates', (name) => ada.echo.join(name.slice(9))], ['private-encrypted-cache-rates', (name) => ada.echo.encryptedPrivate(name.slice(18))]];
    for (const [name, open] of kinds) {
        open(name).on('pusher:cache_miss', ada.note('miss'));
        await ada.next('miss');
        ada.echo.leaveChannel(name);
        await ada.broadcast(name, 'rate', { of: name }, { encrypted: name.includes('encrypted') });
        open(name).listen('.rate', ada.note('hit'));
        expect('cache hit', await ada.next('hit'), { of: name });
        ada.echo.leaveChannel(name);
    }

    return 'cache: a miss and a hit on each of four kinds';
}

async function counting(ada, grace) {
    const { subscription } = ada.echo.channel('counted').on('pusher:subscription_count', ada.note('count'));
    expect('count', await ada.next('count'), { subscription_count: 1 });
    grace.echo.channel('counted');
    expect('count', await ada.next('count'), { subscription_count: 2 });
    grace.echo.leave('counted');
    expect('count', await ada.next('count'), { subscription_count: 1 });
    expect('subscriptionCount', subscription.subscriptionCount, 1);

    return 'subscription_count: up and down';
}

async function refusals(ada) {
    ada.echo.private('forbidden').error(ada.note('refused'));
    const { type, status } = await ada.next('refused');
    expect('the application refuses', [type, status], ['AuthError', 403]);
    ada.echo.private('forged').error(ada.note('refused'));
    const told = await ada.next('refused');
    expect('the server refuses', [told.type, told.status], ['AuthError', 401]);
    expect('the connection is told as well', await ada.next('error'), 4009);

    const channel = await ada.subscribed(ada.echo.private('flood'));
    // More than a second may have, and a further second too, should one begin meanwhile.
    for (let n = 0; n < 30; n++) channel.whisper('n', n);
    expect('too many whispers', await ada.next('error'), 4301);
    expect('the connection lives on', ada.echo.connectionStatus(), 'connected');

    return 'refusals: error() for 403 and 401, 4009 and 4301 on the connection';
}

async function signingIn(ada, grace) {
    for (const turn of ['online', 'offline']) ada.pusher.user.watchlist.bind(turn, ({ user_ids: ids }) => ada.journal.note(turn, ids));
    ada.pusher.user.bind('invoice', ada.note('invoice'));
    ada.echo.connector.signin();
    expect('who is watched is not there', await ada.next('offline'), ['2']);
    grace.echo.connector.signin();
    expect('who is watched signs in', await ada.next('online'), ['2']);
    await becomesSubscribed(ada);
    await ada.broadcast('#server-to-user-1', 'invoice', { n: 1 });
    expect('server to user', await ada.next('invoice'), { n: 1 });

    return 'signin: an event for the user, watchlist online and offline';
}

/** Until the user's own channel is subscribed to. */
function becomesSubscribed({ pusher, journal }) {
    const channel = pusher.user.serverToUserChannel;
    if (!channel?.subscribed) {
        pusher.connection.bind('message', ({ event, channel: name }) => {
            if (event === 'pusher_internal:subscription_succeeded' && name?.startsWith('#server-to-user-')) journal.note('user', name);
        });

        return journal.next('user');
    }
}

async function moving(ada, grace) {
    const before = ada.echo.socketId();
    const room = ada.journal.all('here').length;
    const { exit } = await ada.post('/move');
    expect('the server leaves in good order', exit, 0);
    for (const visitor of [ada, grace]) await visitor.next('error', (code) => code === 4200);
    expect('here again', await ada.next('here'), [{ name: 'Ada' }]);
    expect('here was told once more', ada.journal.all('here').length, room + 1);
    if (ada.echo.socketId() === before) throw new Error('expected another socket id after the reconnection');
    ada.pusher.user.unbind('invoice').bind('invoice', ada.note('invoice'));
    await becomesSubscribed(ada);
    for (const name of ['private-orders', 'private-encrypted-mail']) await ada.next(`subscribed ${name}`);
    await ada.broadcast(['private-orders', 'presence-room'], 'App\\Events\\OrderShipped', { id: 4 });
    await ada.broadcast('private-encrypted-mail', 'App\\Events\\OrderShipped', { id: 5 }, { encrypted: true });
    await ada.broadcast('#server-to-user-1', 'invoice', { n: 2 });
    expect('listen', [await ada.next('listen'), await ada.next('listen'), await ada.next('listen')], [{ id: 4 }, { id: 4 }, { id: 5 }]);
    expect('server to user', await ada.next('invoice'), { n: 2 });

    return 'another server: 4200, back at once, everything subscribed again';
}

async function leaving(ada) {
    const channel = await ada.subscribed(ada.echo.channel('last'));
    channel.listen('.mark', ada.note('mark'));
    ada.echo.leave('orders');
    await ada.subscribed(ada.echo.channel('after'));
    await ada.broadcast(['private-orders', 'last'], 'App\\Events\\OrderShipped', { id: 6 });
    await ada.broadcast('last', 'mark');
    await ada.next('mark');
    expect('leave', ada.journal.all('listen').filter(({ id }) => id === 6), []);
    ada.echo.disconnect();
    await ada.next('status', (status) => status === 'disconnected');

    return 'leave and disconnect';
}

/** Plays the scene. */
export async function scene(settings) {
    const [ada, grace] = [new Visitor(settings, 'ada', 'reverb'), new Visitor(settings, 'grace', 'pusher')];
    const seen = [];

    try {
        for (const visitor of [ada, grace]) await visitor.next('status', (status) => status === 'connected');
        for (const part of [publicChannel, privateChannel, presenceChannel, encryptedChannel, cacheChannels, counting, refusals, signingIn, moving, leaving]) {
            seen.push(await part(ada, grace));
        }
    } catch (error) {
        throw new Error(`after ${JSON.stringify(seen)}: ${error.message}`);
    } finally {
        ada.echo.disconnect();
        grace.echo.disconnect();
    }

    return seen;
}

/** Connects, and gives the states and codes until it is connected or has given up. */
export async function tryToConnect({ Pusher, key, port, codes = 0, ...options }) {
    const journal = new Journal('a client');
    const pusher = new Pusher(key, { cluster: '', wsHost: '127.0.0.1', wsPort: port, wssPort: port, forceTLS: false, enabledTransports: ['ws', 'wss'], ...options });
    pusher.connection.bind('error', ({ data, error }) => journal.note('code', (data ?? error?.data)?.code));
    pusher.connection.bind('connecting_in', (seconds) => journal.note('in', seconds));
    for (const state of ['connected', 'disconnected']) pusher.connection.bind(state, () => journal.note('settled', state));

    // So many codes, each followed by a retry, or until it has settled.
    for (let n = 0; n < codes; n++) {
        await journal.next('code');
        await journal.next('in');
    }
    const settled = codes > 0 ? pusher.connection.state : await journal.next('settled');
    pusher.disconnect();

    return { settled, codes: journal.all('code'), in: journal.all('in') };
}
