// Starts the chat example as `make demo` does, lets two Chromium windows chat in it (chat.mjs), and ends it as
// Ctrl-C does. Exit code 0 only if both went well.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const ended = (child) => new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));

const demo = spawn(path('../../examples/chat/demo'), { stdio: ['ignore', 'pipe', 'inherit'] });
const demoEnded = ended(demo);
const url = new Promise((resolve) => {
    createInterface({ input: demo.stdout }).on('line', (line) => {
        console.log(line);
        const found = /http:\/\/\S+/.exec(line);
        if (found) resolve(found[0]);
    });
});

const page = await Promise.race([url, demoEnded.then(() => null)]);
let outcome = 'never started, since the demo ended before it gave a URL';

if (page) {
    outcome = await ended(spawn(process.execPath, [path('chat.mjs'), page], { stdio: ['ignore', 'inherit', 'inherit'] }));
    demo.kill('SIGINT');
}

const demoOutcome = await demoEnded;
console.log(`exit codes: chat in two windows ${outcome}, demo after Ctrl-C ${demoOutcome}`);
process.exit(outcome === 0 && demoOutcome === 0 ? 0 : 1);
