<?php

declare(strict_types=1);

return [

    // Where the browser finds the server's WebSocket: the port that it sees, which behind a proxy
    // is another than the one the server listens on.
    'websocket_port' => (int) env('CHAT_WEBSOCKET_PORT', env('FANFARE_PORT', 8080)),

];
