// Runs the example: starts the server through artisan, a queue worker and the web server, proves that
// what PHP broadcasts reaches a real pusher-js client, prints the URL, and stays until Ctrl-C.
//
// Owns the processes that it starts and ends all of them, whichever way it ends. Whether something is
// ready is observed (a log line, an answer), never guessed from the clock; the deadlines below only
// turn a hang into a message. Set-up is `demo`'s.

import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ProofFailed, prove } from './prove.mjs';

const chat = fileURLToPath(new URL('.', import.meta.url));
const once = process.env.DEMO_ONCE === '1';
const DEADLINE_MS = 30_000;

const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
const say = (text) => console.log(text);
const done = (text) => say(`  ${paint(32, '✓')} ${text}`);

/** @type {{name: string, child: import('node:child_process').ChildProcess, ended: Promise<void>, log: string, tail: string[]}[]} */
const running = [];
/** Whether the proof was given and the page is there. */
let up = false;

class Failure extends Error {}

/** Starts `php` with its output in a log file; `onLine` sees every line. */
function start(name, args, env, onLine = () => {}) {
    const log = join(chat, 'storage/logs', `${name}.log`);
    const file = createWriteStream(log);
    // A group of its own: Ctrl-C then reaches only this program, which ends the others in order.
    const child = spawn('php', args, { cwd: chat, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const entry = { name, child, log, tail: [] };

    for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
            file.write(`${line}\n`);
            entry.tail = [...entry.tail.slice(-19), line];
            onLine(line);
        });
    }

    entry.ended = new Promise((resolve) => child.once('close', (code, signal) => {
        entry.outcome = signal ?? `exit code ${code}`;
        resolve();
    }));
    running.push(entry);

    return entry;
}

/** Waits for what `ready` promises, or says why it cannot come any more. */
async function become(what, entry, ready) {
    let timer;
    const deadline = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Failure(`expected ${what}, found nothing of the kind in ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
    });
    const ended = entry.ended.then(() => {
        throw new Failure(`expected ${what}, found that it ended with ${entry.outcome}`);
    });

    try {
        const value = await Promise.race([ready, deadline, ended]);
        done(what);

        return value;
    } catch (failure) {
        failure.entry = entry;
        throw failure;
    } finally {
        clearTimeout(timer);
    }
}

/** A deferred promise that a line of output may settle. */
function lineOf(parse) {
    let settle;
    const found = new Promise((resolve) => (settle = resolve));

    return [found, (line) => {
        const value = parse(line);
        if (value !== null) settle(value);
    }];
}

/** `preferred` if it is free, else one that the kernel chooses. */
function freePort(preferred) {
    return new Promise((resolve, reject) => {
        const probe = createServer();
        probe.once('error', () => (preferred === 0 ? reject(new Failure('no free port')) : resolve(freePort(0))));
        probe.listen({ port: preferred, host: '127.0.0.1' }, () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
}

async function answers(url) {
    for (;;) {
        try {
            const response = await fetch(url);
            if (response.ok) return;
        } catch { /* not listening yet */ }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

async function stopAll() {
    // Last started, first stopped: nobody broadcasts to a server that has gone.
    for (const entry of running.toReversed()) {
        if (entry.outcome === undefined) {
            // PHP's web server does not end its workers, so they are told too. fanfare:start passes
            // signals on itself, and a server that is told twice leaves in a hurry.
            process.kill(entry.name === 'fanfare' ? entry.child.pid : -entry.child.pid, 'SIGTERM');
            const hurry = setTimeout(() => {
                try { process.kill(-entry.child.pid, 'SIGKILL'); } catch { /* gone */ }
            }, 10_000);
            await entry.ended;
            clearTimeout(hurry);
        }
    }

    rmSync(runtime, { recursive: true, force: true });
}

const runtime = mkdtempSync(join(tmpdir(), 'fanfare-demo-'));

// Handed down through the environment, which Laravel prefers to .env.
const environment = {
    FANFARE_BINARY: process.env.FANFARE_BINARY ?? join(chat, '../../target/release/fanfare'),
    FANFARE_SOCKET: join(runtime, 'fanfare.sock'),
    FANFARE_LOG_FORMAT: 'json',
    PHP_CLI_SERVER_WORKERS: '4',
};

function appKey() {
    return /^FANFARE_APP_KEY=(.+)$/m.exec(readFileSync(join(chat, '.env'), 'utf8'))[1];
}

async function startServer() {
    const [serving, look] = lineOf((line) => {
        try {
            const entry = JSON.parse(line);
            const fields = { ...entry, ...entry.fields };
            return fields.message === 'serving' ? Number(/:(\d+)(?:,|$)/.exec(fields.listen)[1]) : null;
        } catch {
            return null;
        }
    });
    const port = await freePort(Number(process.env.DEMO_FANFARE_PORT ?? 8080));
    const server = start('fanfare', ['artisan', 'fanfare:start', `--port=${port}`], environment, look);

    return become('Fanfare is serving (php artisan fanfare:start)', server, serving);
}

async function startWeb() {
    const [listening, look] = lineOf((line) => /Server running on \[(http:\/\/[^\]]+)\]/.exec(line)?.[1] ?? null);
    const port = await freePort(Number(process.env.DEMO_WEB_PORT ?? 8000));
    const web = start('web', ['artisan', 'serve', '--host=127.0.0.1', `--port=${port}`, '--no-reload', '--no-ansi'], environment, look);

    return become('the application answers (php artisan serve)', web, listening.then(async (url) => {
        await answers(`${url}/up`);
        return url;
    }));
}

/** Runs a command to its end and gives back what it wrote. */
async function complete(name, args) {
    const lines = [];
    const entry = start(name, args, environment, (line) => lines.push(line));
    await entry.ended;

    if (entry.outcome !== 'exit code 0') {
        throw Object.assign(new Failure(`expected \`php ${args.join(' ')}\` to succeed, found ${entry.outcome}`), { entry });
    }

    return lines;
}

async function main() {
    say('Fanfare chat: starting');
    const port = await startServer();
    environment.CHAT_WEBSOCKET_PORT = String(port);

    start('queue', ['artisan', 'queue:work', '--sleep=1', '--quiet'], environment);
    const url = await startWeb();

    const report = await prove({ port, key: appKey(), broadcast: () => complete('proof', ['artisan', 'chat:time']), deadlineMs: DEADLINE_MS });
    done(`broadcast(new MessageSent) reached a pusher-js client: ${report.arrived} of ${report.sent}, in order`);
    say('');
    const figures = (first, median) => `${paint(1, first.padStart(9))} the first time, ${paint(1, median.padStart(7))} as the median of the others`;
    say(`      broadcast() took        ${figures(report.firstCall, report.medianCall)}`);
    say(`      until the client had it ${figures(report.firstArrival, report.medianArrival)}`);
    say('      (The first call loads Laravel\'s classes and attaches the process to the server.)');
    say('');

    if (once) return;

    say(`Open ${paint('1;4', url)} in two windows and chat. Ctrl-C stops everything.`);
    up = true;
    await Promise.all(running.filter(({ name }) => name !== 'proof').map(async (entry) => {
        await entry.ended;
        throw Object.assign(new Failure(`expected ${entry.name} to stay, found that it ended with ${entry.outcome}`), { entry });
    }));
}

/** Settles with the name of the first signal that asks this program to end. */
const interrupted = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
        process.on(signal, resolve);
    }
});

let code = 0;

try {
    const signal = await Promise.race([main(), interrupted]);

    if (signal !== undefined) {
        say('\nFanfare chat: stopping');
        // Leaving a demo that was up is what Ctrl-C is for; before that it is an abandoned proof.
        code = up ? 0 : 130;
    }
} catch (failure) {
    code = 1;
    console.error(`  ${paint(31, '✗')} ${failure.message}`);

    if (failure.entry) {
        console.error(`\n${failure.entry.tail.map((line) => `      ${line}`).join('\n')}\n\n  All of its output: ${failure.entry.log}`);
    }

    if (!(failure instanceof Failure || failure instanceof ProofFailed)) {
        console.error(failure.stack);
    }
} finally {
    await stopAll();
}

process.exit(code);
