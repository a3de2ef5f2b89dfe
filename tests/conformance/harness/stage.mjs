// What one test plays on: a server, PHP, and clients, all of them gone when the test is over.

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import { Journal } from './journal.mjs';
import { Publisher, Server } from './server.mjs';
import { Signer } from './signer.mjs';

/** Options with which every client here connects, and which a page uses too. */
export const connection = ({ port }) => ({
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: port,
    wssPort: port,
    forceTLS: false,
    enabledTransports: ['ws', 'wss'],
});

export class Stage {
    #leaving = [];
    #publisher;

    /** A stage for the test `t`; `options` are the server's. */
    static async open(t, options) {
        const stage = new Stage();
        t.after(() => stage.#close());
        stage.server = await Server.start(options);

        return stage;
    }

    get signer() {
        return new Signer(this.server.app);
    }

    get masterKey() {
        return this.signer.masterKey;
    }

    /** Another server in place of the one that has ended. */
    async succeed(changes) {
        this.server = await this.server.successor(changes);
    }

    /** Publishes through PHP. */
    publish(...publication) {
        this.#publisher ??= new Publisher(this.server);

        return this.#publisher.publish(...publication);
    }

    /** Something to be called when the test is over. */
    leave(how) {
        this.#leaving.push(how);
    }

    /**
     * A pusher-js client, with its journal: `connected`, `state`, `error`, `message` and `in` (seconds until it tries
     * again). `user` is what the application says about its visitor: `{id, user_info, watchlist}`.
     */
    client({ user, key = this.server.app.key, whose = user?.id ?? 'a client', ...options } = {}) {
        const answer = (callback, make) => {
            try {
                callback(null, make());
            } catch (refusal) {
                callback(refusal, null);
            }
        };
        const member = user && { user_id: user.id, user_info: user.user_info };
        const pusher = new Pusher(key, {
            ...connection(this.server),
            channelAuthorization: {
                customHandler: ({ socketId, channelName }, callback) => answer(callback, () => this.signer.channel(socketId, channelName, member)),
            },
            userAuthentication: {
                customHandler: ({ socketId }, callback) => answer(callback, () => this.signer.user(socketId, user)),
            },
            ...options,
        });
        pusher.journal = new Journal(whose);
        const note = (event, what = event) => pusher.connection.bind(event, (value) => pusher.journal.note(what, value));
        note('connected');
        note('error');
        note('message');
        note('connecting_in', 'in');
        // It has begun to connect already.
        pusher.journal.note('state', pusher.connection.state);
        pusher.connection.bind('state_change', ({ current }) => pusher.journal.note('state', current));
        this.leave(() => pusher.disconnect());

        return pusher;
    }

    /** Echo around such a client. */
    echo(options = {}, { broadcaster = 'reverb', ...of } = {}) {
        const client = this.client(options);

        return new Echo({ broadcaster, client, key: this.server.app.key, ...of });
    }

    /** Subscribes, with a journal of the channel's events, and waits until that has succeeded. */
    async subscribe(pusher, name) {
        const channel = listen(pusher, name);
        channel.state = await channel.journal.next('pusher:subscription_succeeded');

        return channel;
    }

    async #close() {
        for (const leave of this.#leaving.toReversed()) await leave();
        await this.#publisher?.end();
        await this.server?.end('SIGKILL');
        this.server?.remove();
    }
}

/** Subscribes, with a journal of the channel's events: their names, with their data. Metadata are in `metadata`. */
export function listen(pusher, name) {
    const channel = pusher.subscribe(name);
    channel.journal = new Journal(`${pusher.journal.whose} on ${name}`);
    channel.bind_global((event, data) => channel.journal.note(event, data));

    return channel;
}
