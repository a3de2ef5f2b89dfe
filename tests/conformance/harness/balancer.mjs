// One address before several servers: each new connection goes to the server that is its target then.

import { connect, createServer } from 'node:net';

export class Balancer {
    #sockets = new Set();

    static async listen(target) {
        const balancer = new Balancer();
        balancer.target = target;
        balancer.listener = createServer((client) => balancer.#pass(client));
        await new Promise((resolve) => balancer.listener.listen(0, '127.0.0.1', resolve));
        balancer.port = balancer.listener.address().port;

        return balancer;
    }

    #pass(client) {
        const server = connect(this.target, '127.0.0.1');
        for (const [from, to] of [[client, server], [server, client]]) {
            this.#sockets.add(from);
            from.pipe(to);
            from.on('error', () => to.destroy());
            from.on('close', () => this.#sockets.delete(from));
        }
    }

    end() {
        for (const socket of this.#sockets) socket.destroy();

        return new Promise((resolve) => this.listener.close(resolve));
    }
}
