// The real server, and a real PHP process that publishes through the extension.
//
// FANFARE_BINARY names another binary than target/release/fanfare. Ports are the kernel's choice; a successor takes
// its predecessor's.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Journal, within } from './journal.mjs';

const tests = new URL('../../', import.meta.url);
const binary = process.env.FANFARE_BINARY ?? fileURLToPath(new URL('../target/release/fanfare', tests));

export const APP = { id: 'conformance', key: 'conformance-key', secret: 'conformance-secret' };

const ended = (child) => new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? code));
});

export class Server {
    #configuration;

    /** Starts a server and waits until it serves. `app` is over APP, `limits` over the server's own. */
    static async start({ app = {}, limits = {}, shards = 2 } = {}) {
        const directory = mkdtempSync(join(tmpdir(), 'fanfare-'));

        return new Server({
            listen: '127.0.0.1:0',
            socket: join(directory, 'fanfare.sock'),
            shards,
            limits,
            apps: [{ ...APP, ...app }],
            log: { level: 'debug', format: 'json' },
        }, directory).#serve();
    }

    constructor(configuration, directory) {
        this.#configuration = configuration;
        this.directory = directory;
        this.log = new Journal('the log');
    }

    get app() {
        return this.#configuration.apps[0];
    }

    get socket() {
        return this.#configuration.socket;
    }

    async #serve() {
        this.child = spawn(binary, ['serve', '--config', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
        this.ended = ended(this.child);
        createInterface({ input: this.child.stderr }).on('line', (line) => {
            const { message, ...fields } = line.startsWith('{') ? JSON.parse(line).fields : { message: line };
            this.log.note(message, fields);
        });
        this.child.stdin.end(JSON.stringify(this.#configuration));
        const early = this.ended.then((outcome) => {
            throw new Error(`expected ${binary} to serve, found that it ended with ${outcome} (was \`make build\` run?): ${this.log}`);
        });
        const { listen } = await Promise.race([this.log.next('serving'), early]);
        this.port = Number(/:(\d+)$/.exec(listen)[1]);

        return this;
    }

    /** A server of the same configuration on the same port and socket, now that this one has ended. */
    successor(changes = {}) {
        return new Server({ ...this.#configuration, ...changes, listen: `127.0.0.1:${this.port}` }, this.directory).#serve();
    }

    /** One metric, over the Unix socket. */
    async metric(name) {
        const response = await new Promise((resolve, reject) => {
            request({ socketPath: this.socket, path: '/metrics' }, resolve).on('error', reject).end();
        });
        const text = Buffer.concat(await response.toArray()).toString();

        return Number(new RegExp(`^fanfare_${name} (\\d+)$`, 'm').exec(text)[1]);
    }

    signal(signal) {
        this.child.kill(signal);
    }

    /** Ends it, and gives the exit code or the signal. */
    async end(signal = 'SIGTERM') {
        if (this.child.exitCode === null && this.child.signalCode === null) this.signal(signal);

        return within(this.ended, `the server to end on ${signal}`, () => this.log.toString());
    }

    remove() {
        rmSync(this.directory, { recursive: true, force: true });
    }
}

/** A PHP process that broadcasts through the extension. */
export class Publisher {
    #answers = new Journal('the publisher');

    constructor({ socket, app: { key, secret } }) {
        const script = fileURLToPath(new URL('fixtures/publish.php', tests));
        this.child = spawn('php', [script, JSON.stringify({ socket, key, secret })], { stdio: ['pipe', 'pipe', 'inherit'] });
        this.ended = ended(this.child);
        createInterface({ input: this.child.stdout }).on('line', (line) => this.#answers.note('answer', line));
        this.ended.then((outcome) => this.#answers.note('answer', `ended ${outcome}`));
    }

    /** Publishes, and gives what PHP was told: `accepted`, or `refused …`. */
    async attempt(channels, event, data = {}, { except, masterKey } = {}) {
        const publication = { channels: [channels].flat(), event, data, except, master_key: masterKey?.toString('base64') };
        this.child.stdin.write(`${JSON.stringify(publication)}\n`);

        return this.#answers.next('answer');
    }

    /** Publishes what has to be accepted. */
    async publish(...publication) {
        const answer = await this.attempt(...publication);
        if (answer !== 'accepted') throw new Error(`expected the publication to be accepted, found: ${answer}`);
    }

    async end() {
        this.child.stdin.end();
        await within(this.ended, 'the publisher to end with its input');
    }
}
