// The chat page: Laravel Echo on one side, one form on the other.
//
// Each bubble says what is known of it: the sender's own shows what the broadcast() call cost its
// request, everybody else's shows the time from that call to this window. The latter compares the
// clocks of two processes, which is meant for windows on the machine that serves them.

const $ = (id) => document.getElementById(id);
const { key, port } = document.body.dataset;
const names = ['Ada', 'Grace', 'Linus', 'Margaret', 'Dennis', 'Radia', 'Ken', 'Barbara', 'Edsger', 'Frances'];

const hue = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

function paint(face, name) {
    face.textContent = [...name.trim()][0]?.toUpperCase() ?? '?';
    face.style.setProperty('--hue', hue(name));
}

function duration(ms) {
    return ms < 1 ? `${Math.round(ms * 1000)} µs` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

function append({ id, author, text }, { own, took, label }) {
    const face = Object.assign(document.createElement('span'), { className: 'face', ariaHidden: 'true' });
    paint(face, author);

    const bubble = Object.assign(document.createElement('div'), { className: 'bubble' });
    bubble.append(
        Object.assign(document.createElement('p'), { className: 'author', textContent: author }),
        Object.assign(document.createElement('p'), { className: 'text', textContent: text }),
    );

    const note = Object.assign(document.createElement('span'), { className: 'took' });
    note.append(`${label} `, Object.assign(document.createElement('b'), { textContent: took }));

    const item = Object.assign(document.createElement('li'), { className: own ? 'message own' : 'message' });
    item.dataset.id = id;
    item.append(face, bubble, note);

    $('messages').querySelector('.empty').hidden = true;
    $('messages').append(item);
    item.scrollIntoView({ block: 'end' });
}

const echo = new Echo.default({
    broadcaster: 'reverb',
    Pusher,
    key,
    wsHost: location.hostname,
    wsPort: Number(port),
    wssPort: Number(port),
    forceTLS: location.protocol === 'https:',
    enabledTransports: ['ws', 'wss'],
});

const { connection } = echo.connector.pusher;

function showConnection() {
    $('state').textContent = connection.state;
    $('state').parentElement.dataset.state = connection.state;
    $('socket-id').textContent = echo.socketId() ?? '–';
}

connection.bind('state_change', showConnection);
connection.bind('error', ({ data, error }) => {
    $('fault').textContent = (data ?? error?.data)?.message ?? '';
});
showConnection();

echo.channel('chat')
    .listen('MessageSent', (message) => {
        const age = performance.timeOrigin + performance.now() - message.sentAtMs;
        // Browsers round their clocks, so that a very young message can look unborn.
        const took = duration(Math.max(age, 0.1));
        append(message, { own: false, label: 'arrived in', took });
        $('latency').textContent = took;
    })
    .listen('RoomCounted', ({ messages }) => {
        $('count').textContent = messages;
    })
    .subscribed(() => {
        document.body.dataset.subscribed = 'chat';
    });

$('author').value = sessionStorage.getItem('author') ?? names[Math.floor(Math.random() * names.length)];
$('author').addEventListener('input', () => {
    sessionStorage.setItem('author', $('author').value);
    paint($('own-face'), $('author').value);
});
paint($('own-face'), $('author').value);
document.querySelectorAll('.message.past').forEach((item) => paint(item.querySelector('.face'), item.dataset.author));
$('messages').lastElementChild.previousElementSibling?.scrollIntoView({ block: 'end' });

$('composer').addEventListener('submit', async (submission) => {
    submission.preventDefault();
    const text = $('text').value.trim();

    if (text === '') {
        return;
    }

    $('text').value = '';
    $('fault').textContent = '';

    const headers = {
        'Content-Type': 'application/json',
        Accept: 'application/json',
        'X-CSRF-TOKEN': document.querySelector('meta[name="csrf-token"]').content,
    };

    // Without a connection there is no socket id, and no window to leave out.
    if (echo.socketId()) {
        headers['X-Socket-ID'] = echo.socketId();
    }

    try {
        const response = await fetch('/messages', { method: 'POST', headers, body: JSON.stringify({ author: $('author').value, text }) });
        const answer = await response.json();

        if (!response.ok) {
            throw new Error(answer.message ?? `the application answered ${response.status}`);
        }

        append(answer, { own: true, label: 'broadcast in', took: duration(answer.broadcastUs / 1000) });
    } catch (fault) {
        $('fault').textContent = `Not sent: ${fault.message}`;
        $('text').value = text;
    }
});
