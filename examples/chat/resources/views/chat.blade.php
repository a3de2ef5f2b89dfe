<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="csrf-token" content="{{ csrf_token() }}">
    <title>Fanfare chat</title>
    <link rel="icon" href="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='9' fill='%23d9480f'/><path d='M7 13v6h4l10 5V8l-10 5z' fill='white'/></svg>">
    <link rel="stylesheet" href="/chat.css">
</head>
<body data-key="{{ config('fanfare.apps.0.key') }}" data-port="{{ config('chat.websocket_port') }}">
<main class="room">
    <header class="bar">
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9"/><path d="M7 13v6h4l10 5V8l-10 5z"/></svg>
        <div class="title">
            <h1>Fanfare chat</h1>
            <p>Open this page in a second window and write.</p>
        </div>
        <dl class="link">
            <div class="state" data-state="initialized"><dt>connection</dt><dd id="state">starting</dd></div>
            <div class="socket"><dt>socket id</dt><dd id="socket-id">–</dd></div>
        </dl>
    </header>

    <ol class="messages" id="messages" aria-live="polite">
        @foreach ($messages as $message)
            <li class="message past" data-author="{{ $message->author }}">
                <span class="face" aria-hidden="true"></span>
                <div class="bubble">
                    <p class="author">{{ $message->author }}</p>
                    <p class="text">{{ $message->text }}</p>
                </div>
            </li>
        @endforeach
        <li class="empty" @if ($messages->isNotEmpty()) hidden @endif>Nothing here yet. Say hello.</li>
    </ol>

    <form class="composer" id="composer" autocomplete="off">
        <label class="who"><span class="face" id="own-face" aria-hidden="true"></span><input id="author" name="author" maxlength="40" required aria-label="Your name"></label>
        <input id="text" name="text" maxlength="2000" required placeholder="Write a message…" aria-label="Message" autofocus>
        <button type="submit" aria-label="Send"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 12h14M12 6l6 6-6 6"/></svg></button>
    </form>

    <footer class="foot">
        <span><b id="count">{{ $count }}</b> in this room, counted by the queue</span>
        <span class="fault" id="fault" role="alert"></span>
        <span>last arrival <b id="latency">–</b></span>
    </footer>
</main>

<script src="/vendor/pusher.min.js"></script>
<script src="/vendor/echo.iife.js"></script>
<script src="/chat.js" type="module"></script>
</body>
</html>
