// A real server for the tests of one SDK, and a client over a real WebSocket.
//
// Nothing here sleeps: what is waited for is a log line or an event. PATIENCE_MS only turns a hang into a failure.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PATIENCE_MS = 60_000;
const binary = process.env.FANFARE_BINARY || fileURLToPath(new URL('../../target/release/fanfare', import.meta.url));

/** What `promise` gives, or a failure that says what was waited for. */
async function inTime(what, promise) {
    let timer;
    const hang = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`expected ${what} within ${PATIENCE_MS} ms, but it did not come`)), PATIENCE_MS);
    });

    try {
        return await Promise.race([promise, hang]);
    } finally {
        clearTimeout(timer);
    }
}

/** Starts a server with this app; gives its port, and how to end it. */
export async function startServer(app) {
    const folder = mkdtempSync(join(tmpdir(), 'fanfare-sdk-'));
    const child = spawn(binary, ['serve', '--config', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
    const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
    child.stdin.end(JSON.stringify({
        listen: '127.0.0.1:0',
        socket: join(folder, 'f.sock'),
        shards: 2,
        log: { level: 'info', format: 'json' },
        apps: [app],
    }));
    const said = [];
    const serving = new Promise((resolve, reject) => {
        child.once('error', (error) => reject(new Error(`cannot start ${binary} (${error.message}); run \`make build\`, or set FANFARE_BINARY`)));
        createInterface({ input: child.stderr }).on('line', (line) => {
            said.push(line);
            if (line.includes('"serving"')) resolve(JSON.parse(line).fields.listen);
        }).once('close', () => reject(new Error(`the server ended: ${said.join('\n')}`)));
    });
    const listen = await inTime('the server to serve', serving);

    return {
        port: Number(listen.slice(listen.lastIndexOf(':') + 1)),
        async stop() {
            child.kill('SIGTERM');
            const outcome = await inTime('the server to end', ended);
            rmSync(folder, { recursive: true });
            if (outcome !== 0) throw new Error(`expected the server to end with 0, but found ${outcome}: ${said.join('\n')}`);
        },
    };
}

/** A Pusher client that does as it is told. */
export class Client {
    #heard = [];
    #waiting = [];
    #closed;

    /** Connects, and hears the hello. */
    static async connect(port, key) {
        const client = new Client();
        client.socket = new WebSocket(`ws://127.0.0.1:${port}/app/${key}?protocol=7&client=js&version=8.6.0&flash=false`);
        client.#closed = new Promise((resolve) => client.socket.addEventListener('close', ({ code }) => resolve(code)));
        client.socket.addEventListener('message', ({ data }) => {
            const event = JSON.parse(data);
            const next = client.#waiting.shift();
            if (next) next(event);
            else client.#heard.push(event);
        });
        const hello = await client.event('pusher:connection_established');
        client.socketId = JSON.parse(hello.data).socket_id;

        return client;
    }

    send(event, data) {
        this.socket.send(JSON.stringify({ event, data }));
    }

    /** The next event, which has to have this name. */
    async event(name) {
        const event = this.#heard.length > 0 ? this.#heard.shift() : await inTime(name, new Promise((resolve) => this.#waiting.push(resolve)));
        if (event.event !== name) throw new Error(`expected ${name}, but found ${JSON.stringify(event)}`);

        return event;
    }

    /** Subscribes with what an application's authorization endpoint answers. */
    async subscribe(channel, authorization = {}) {
        this.send('pusher:subscribe', { channel, ...authorization });

        return this.event('pusher_internal:subscription_succeeded');
    }

    /** Signs in with what an application's user authentication endpoint answers. */
    async signIn(authentication) {
        this.send('pusher:signin', authentication);

        return this.event('pusher:signin_success');
    }

    /** Proves that nothing else was said until now. */
    async settle() {
        this.send('pusher:ping', {});
        await this.event('pusher:pong');
    }

    /** The code of the close frame. */
    closed() {
        return inTime('the connection to be closed', this.#closed);
    }

    close() {
        this.socket.close();
    }
}
