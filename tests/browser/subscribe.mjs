// A pusher-js client on the command line, for tests in any language.
//
//   node subscribe.mjs '{"host": "127.0.0.1", "port": 8080, "key": "app-key", "channels": ["chat"]}'
//
// (or the same JSON in FANFARE_SUBSCRIBE). Standard output has one line of JSON for each thing that
// happens, with `at_ns`, the monotonic clock that PHP's hrtime() and Rust's Instant share with Node:
//
//   {"type": "connected", "socket_id"}          {"type": "subscribed", "channel"}
//   {"type": "event", "channel", "event", "data"}    data as pusher-js gives it to the page: parsed
//   {"type": "state", "from", "to"}             {"type": "error", "code", "message", "channel"?}
//   {"type": "unsubscribed", "channel"}         {"type": "done", "events"}
//
// Standard input takes commands, one line of JSON each:
//   {"subscribe": "x"}   {"unsubscribe": "x"}   {"send": {"channel", "event", "data"}}   {"quit": true}
// The end of input changes nothing unless {"quit_at_eof": true}. {"events": N} quits after N events.
// Exit code: 0 after a quit; 2 for wrong arguments. What should have happened is the caller's to know.

import { createInterface } from 'node:readline';
import Pusher from 'pusher-js';

const usage = 'expected JSON with port, key and channels as the argument or in FANFARE_SUBSCRIBE';
let options;

try {
    options = JSON.parse(process.argv[2] ?? process.env.FANFARE_SUBSCRIBE);
    if (!Number.isInteger(options.port) || typeof options.key !== 'string') throw new Error('port or key is missing');
} catch (error) {
    console.error(`${usage}, found: ${error.message}`);
    process.exit(2);
}

// at_ns is a number of nanoseconds since the machine started: exact in a double for its first 104 days.
function say(type, fields, atNs = process.hrtime.bigint()) {
    process.stdout.write(`${JSON.stringify({ type, at_ns: Number(atNs), ...fields })}\n`);
}

let events = 0;
const pusher = new Pusher(options.key, {
    cluster: '',
    wsHost: options.host ?? '127.0.0.1',
    wsPort: options.port,
    wssPort: options.port,
    forceTLS: options.tls ?? false,
    enabledTransports: ['ws', 'wss'],
    ...options.pusher,
});

function quit() {
    pusher.disconnect();
    say('done', { events });
    // Written before the process ends, also when standard output is a pipe.
    process.stdout.write('', () => process.exit(0));
}

function subscribe(name) {
    const known = pusher.channel(name);
    const channel = pusher.subscribe(name);
    // pusher-js keeps a channel's bindings across reconnections.
    if (known) return;

    channel.bind_global((event, data) => {
        const atNs = process.hrtime.bigint();

        if (event === 'pusher:subscription_succeeded') {
            say('subscribed', { channel: name, data }, atNs);
        } else if (event === 'pusher:subscription_error') {
            say('error', { channel: name, code: data?.status ?? null, message: data?.error ?? '' }, atNs);
        } else {
            events += 1;
            say('event', { channel: name, event, data }, atNs);
            if (events === options.events) quit();
        }
    });
}

pusher.connection.bind('connected', () => say('connected', { socket_id: pusher.connection.socket_id }));
pusher.connection.bind('state_change', ({ previous, current }) => say('state', { from: previous, to: current }));
pusher.connection.bind('error', (error) => {
    const found = error?.data ?? error?.error?.data ?? {};
    say('error', { code: found.code ?? null, message: found.message ?? String(error?.error?.message ?? error?.type ?? error) });
});

for (const name of options.channels ?? []) subscribe(name);

const input = createInterface({ input: process.stdin });

input.on('line', (line) => {
    let command;

    try {
        command = JSON.parse(line);
    } catch {
        say('error', { code: null, message: `expected a command as JSON, found ${JSON.stringify(line)}` });

        return;
    }

    if (command.subscribe !== undefined) subscribe(command.subscribe);

    if (command.unsubscribe !== undefined) {
        pusher.unsubscribe(command.unsubscribe);
        say('unsubscribed', { channel: command.unsubscribe });
    }

    if (command.send !== undefined) pusher.send_event(command.send.event, command.send.data, command.send.channel);
    if (command.quit) quit();
});

input.on('close', () => {
    if (options.quit_at_eof) quit();
});

process.on('SIGTERM', quit);
process.on('SIGINT', quit);
