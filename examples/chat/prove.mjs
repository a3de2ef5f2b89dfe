// The proof that `demo` prints: a pusher-js client, a real one over a real WebSocket, receives what
// PHP broadcasts. Times come from the monotonic clock, which PHP's hrtime() and Node's share on one
// machine; each event carries the moment at which it was made.

import Pusher from 'pusher-js';

export class ProofFailed extends Error {}

const median = (values) => {
    const sorted = values.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;

    return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const microseconds = (ns) => `${(ns / 1000).toFixed(ns < 100_000 ? 1 : 0)} µs`;

/**
 * Subscribes, lets `broadcast` broadcast, and waits until all of it is here.
 *
 * @param {{port: number, key: string, broadcast: () => Promise<string[]>, deadlineMs: number}} options
 *     `broadcast` resolves to one line of JSON for each broadcast: {"id", "callNs", "startNs"}
 */
export async function prove({ port, key, broadcast, deadlineMs }) {
    const pusher = new Pusher(key, { cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'] });
    const arrivals = [];
    let deadline;

    try {
        await new Promise((resolve, reject) => {
            deadline = setTimeout(() => reject(new ProofFailed(`expected to be subscribed, found connection ${pusher.connection.state} after ${deadlineMs / 1000} s`)), deadlineMs);
            pusher.connection.bind('error', (error) => reject(new ProofFailed(`expected a connection, found ${JSON.stringify(error)}`)));
            pusher.connection.bind('failed', () => reject(new ProofFailed('expected a connection, found that this Node has no WebSocket')));
            pusher.subscribe('chat').bind('pusher:subscription_succeeded', resolve);
        });
        clearTimeout(deadline);

        let noticed = () => {};
        pusher.channel('chat').bind('App\\Events\\MessageSent', (message) => {
            arrivals.push({ id: message.id, atNs: process.hrtime.bigint(), sentAtNs: message.sentAtNs });
            noticed();
        });

        const sent = (await broadcast()).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));

        if (sent.length === 0) {
            throw new ProofFailed('expected PHP to say what it broadcast, found no line of it');
        }

        await new Promise((resolve, reject) => {
            deadline = setTimeout(() => reject(new ProofFailed(`expected ${sent.length} messages, found ${arrivals.length} after ${deadlineMs / 1000} s`)), deadlineMs);
            noticed = () => arrivals.length >= sent.length && resolve();
            noticed();
        });

        const expected = sent.map(({ id }) => id).join();
        const found = arrivals.map(({ id }) => id).join();

        if (found !== expected) {
            throw new ProofFailed(`expected the messages in the order in which they were sent, found ${found}`);
        }

        // Nanoseconds of uptime stay exact in a double for 104 days; the difference is small either way.
        const waits = arrivals.map(({ atNs, sentAtNs }) => Number(atNs - BigInt(sentAtNs)));
        const calls = sent.map(({ callNs }) => callNs);

        return {
            sent: sent.length,
            arrived: arrivals.length,
            firstCall: microseconds(calls[0]),
            medianCall: microseconds(median(calls.slice(1))),
            firstArrival: microseconds(waits[0]),
            medianArrival: microseconds(median(waits.slice(1))),
        };
    } finally {
        clearTimeout(deadline);
        pusher.disconnect();
    }
}
