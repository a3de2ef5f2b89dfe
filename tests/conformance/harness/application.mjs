// A small application on loopback: the page, its scripts, the two authorization endpoints, and publishing.
//
// Stands in for Laravel where breadth is wanted (laravel.test.mjs has the real one). Visitors say who they are in the
// header X-User. Before the WebSocket server stands a balancer, so that the server can be exchanged under the clients.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Balancer } from './balancer.mjs';
import { Signer } from './signer.mjs';
import { Stage } from './stage.mjs';

const package_ = createRequire(import.meta.url);
const here = new URL('../', import.meta.url);
const script = 'text/javascript; charset=utf-8';

const FILES = {
    '/': ['text/html; charset=utf-8', new URL('page/index.html', here)],
    '/scene.mjs': [script, new URL('scene.mjs', here)],
    '/harness/journal.mjs': [script, new URL('harness/journal.mjs', here)],
    '/vendor/pusher.js': [script, package_.resolve('pusher-js/dist/web/pusher-with-encryption.min.js')],
    '/vendor/echo.js': [script, package_.resolve('laravel-echo/iife')],
};

const VISITORS = {
    ada: { id: '1', user_info: { name: 'Ada' }, watchlist: ['2'] },
    grace: { id: '2', user_info: { name: 'Grace' } },
};

export class Application {
    /** An application for the test `t`, with a server whose options are `options`. */
    static async open(t, options) {
        const application = new Application();
        application.t = t;
        application.options = options;
        application.stage = await Stage.open(t, options);
        application.balancer = await Balancer.listen(application.stage.server.port);
        t.after(() => application.balancer.end());
        application.http = createServer((request, response) => application.#answer(request, response));
        await new Promise((resolve) => application.http.listen(0, '127.0.0.1', resolve));
        application.url = `http://127.0.0.1:${application.http.address().port}`;
        t.after(() => {
            application.http.closeAllConnections();
            application.http.close();
        });

        return application;
    }

    /** What a page has to know. */
    get settings() {
        return { key: this.stage.server.app.key, port: this.balancer.port, base: this.url };
    }

    async #answer(request, response) {
        const say = (status, type, body) => response.writeHead(status, { 'content-type': type }).end(body);
        const { pathname } = new URL(request.url, this.url);

        try {
            if (FILES[pathname]) {
                const [type, file] = FILES[pathname];
                say(200, type, readFileSync(file));
            } else if (request.method === 'POST') {
                const body = Buffer.concat(await request.toArray()).toString();
                const [status, answer] = await this.#post(pathname, request.headers, body);
                say(status, 'application/json', JSON.stringify(answer));
            } else {
                say(404, 'text/plain', '');
            }
        } catch (error) {
            say(500, 'text/plain', error.stack);
        }
    }

    async #post(pathname, headers, body) {
        const visitor = VISITORS[headers['x-user']];

        switch (pathname) {
            case '/broadcasting/auth': {
                const form = new URLSearchParams(body);
                const [socketId, channel] = [form.get('socket_id'), form.get('channel_name')];
                if (!visitor || channel === 'private-forbidden') return [403, { message: 'forbidden' }];
                const signer = channel === 'private-forged' ? new Signer({ ...this.stage.server.app, secret: 'another' }) : this.stage.signer;

                return [200, signer.channel(socketId, channel, { user_id: visitor.id, user_info: visitor.user_info })];
            }
            case '/broadcasting/user-auth':
                return visitor ? [200, this.stage.signer.user(new URLSearchParams(body).get('socket_id'), visitor)] : [403, {}];
            case '/broadcast': {
                const { channels, event, data, encrypted } = JSON.parse(body);
                const masterKey = encrypted ? this.stage.masterKey : undefined;
                await this.stage.publish(channels, event, data, { except: headers['x-socket-id'], masterKey });

                return [200, {}];
            }
            case '/move': {
                const leaving = this.stage;
                this.stage = await Stage.open(this.t, this.options);
                this.balancer.target = this.stage.server.port;

                return [200, { exit: await leaving.server.end('SIGTERM') }];
            }
            default:
                return [404, {}];
        }
    }
}
