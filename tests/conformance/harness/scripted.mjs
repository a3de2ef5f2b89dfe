// A WebSocket server that says hello and then closes with the code that it is told.
//
// For the codes that the real server does not send, or only after a day: 4000, 4202, 1012 and those beyond 4300. What
// it owns of RFC 6455 is no more than that needs: the handshake, short unmasked text frames, and a close.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Journal } from './journal.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** One frame of less than 126 bytes. */
const frame = (opcode, payload) => Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]);

export class Scripted {
    connections = new Journal('the scripted server');
    #sockets = [];

    static async listen() {
        const scripted = new Scripted();
        scripted.http = createServer().on('upgrade', (request, socket) => scripted.#accept(request, socket));
        await new Promise((resolve) => scripted.http.listen(0, '127.0.0.1', resolve));
        scripted.port = scripted.http.address().port;

        return scripted;
    }

    #accept(request, socket) {
        const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
        socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
        socket.on('error', () => {});
        socket.resume();
        const hello = { event: 'pusher:connection_established', data: JSON.stringify({ socket_id: '1.1', activity_timeout: 120 }) };
        socket.write(frame(1, Buffer.from(JSON.stringify(hello))));
        this.#sockets.push(socket);
        this.connections.note('connection', request.url);
    }

    /** Closes the connection that came last. */
    close(code, reason = '') {
        this.#sockets.at(-1).end(frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])));
    }

    end() {
        for (const socket of this.#sockets) socket.destroy();

        return new Promise((resolve) => this.http.close(resolve));
    }
}
