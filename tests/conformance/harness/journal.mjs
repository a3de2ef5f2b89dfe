// What happened, in order, and waiting for what is to happen. Runs in Node and in a page.
//
// Owns the only clock of these tests: a patience that turns a hang into a failure. Nothing is ever concluded from
// time that has passed.

const PATIENCE_MS = 60_000;
// Kept, so that a test that replaces the timers does not replace this one.
const { setTimeout: later, clearTimeout: never } = globalThis;

/** Waits for a promise; a hang is a failure that says what was expected and what there was instead. */
export async function within(promise, expected, found = () => 'nothing') {
    let timer;
    const hang = new Promise((_, reject) => {
        timer = later(() => reject(new Error(`expected ${expected}, found ${found()}`)), PATIENCE_MS);
    });

    try {
        return await Promise.race([promise, hang]);
    } finally {
        never(timer);
    }
}

export class Journal {
    #entries = [];
    #waiting = new Set();

    constructor(whose = '') {
        this.whose = whose;
    }

    note(what, value) {
        const entry = { what, value, taken: false };
        this.#entries.push(entry);
        for (const look of [...this.#waiting]) look(entry);
    }

    /** All values that were noted as `what`, whether or not somebody has waited for them. */
    all(what) {
        return this.#entries.filter((entry) => entry.what === what).map(({ value }) => value);
    }

    /** The order of everything that was noted under one of these names. */
    order(...names) {
        return this.#entries.map(({ what }) => what).filter((what) => names.includes(what));
    }

    /** The next value noted as `what`, now or later; what one call has given no other gives. */
    async next(what, matches = () => true) {
        const fits = (entry) => entry.what === what && !entry.taken && matches(entry.value);
        const take = (entry) => {
            entry.taken = true;

            return entry.value;
        };
        const present = this.#entries.find(fits);
        if (present) return take(present);

        let look;
        const coming = new Promise((resolve) => {
            look = (entry) => {
                // Two entries may come in one turn, of which the second is for the next call.
                if (entry.taken || !fits(entry)) return;
                this.#waiting.delete(look);
                resolve(take(entry));
            };
            this.#waiting.add(look);
        });

        try {
            return await within(coming, `"${what}" of ${this.whose || 'this journal'}`, () => this.toString());
        } finally {
            this.#waiting.delete(look);
        }
    }

    toString() {
        const last = this.#entries.slice(-30).map(({ what, value, taken }) => `\n  ${taken ? '✓' : ' '} ${what} ${JSON.stringify(value)}`);

        return `${this.#entries.length} entries${last.join('')}`;
    }
}
