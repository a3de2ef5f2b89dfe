// What an application's authorization endpoints answer, signed with Node's crypto.
//
// Owns checklist A1 to A3, A5 and A6 as an application has them: independent of the server's own signatures.

import { createHash, createHmac } from 'node:crypto';

export class Signer {
    constructor({ key, secret, masterKey = Buffer.alloc(32, 'fanfare master ') }) {
        this.key = key;
        this.secret = secret;
        this.masterKey = masterKey;
    }

    #sign(text) {
        return `${this.key}:${createHmac('sha256', this.secret).update(text).digest('hex')}`;
    }

    /** The answer of `/broadcasting/auth`; `member` is a presence channel's `{user_id, user_info}`. */
    channel(socketId, channel, member) {
        if (channel.startsWith('presence-') && member) {
            const data = JSON.stringify(member);

            return { auth: this.#sign(`${socketId}:${channel}:${data}`), channel_data: data };
        }
        const answer = { auth: this.#sign(`${socketId}:${channel}`) };

        return channel.startsWith('private-encrypted-') ? { ...answer, shared_secret: this.sharedSecret(channel) } : answer;
    }

    /** The answer of `/broadcasting/user-auth`. */
    user(socketId, user) {
        const data = JSON.stringify(user);

        return { auth: this.#sign(`${socketId}::user::${data}`), user_data: data };
    }

    sharedSecret(channel) {
        return createHash('sha256').update(channel).update(this.masterKey).digest('base64');
    }
}
