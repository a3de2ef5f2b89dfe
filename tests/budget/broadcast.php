<?php

declare(strict_types=1);

/*
 * Broadcasts to a server that is stopped: socket, key, secret and process id of the server, then how often.
 *
 * A server that runs drains the ring while PHP fills it, and falls asleep whenever it has caught up: then a call rings
 * the doorbell, or does not. One that is stopped has every call find the same, as long as the ring has room.
 */

use Fanfare\Sidecar;

[, $socket, $key, $secret, $server, $times] = $argv;

/** Sends the server a signal. */
$signal = static function (string $name) use ($server): void {
    exec("kill -{$name} {$server}", result_code: $failed);

    if ($failed !== 0) {
        throw new RuntimeException("Expected to send SIG{$name} to the server {$server}, but kill failed.");
    }
};

// Valgrind makes attaching slow.
$sidecar = new Sidecar($socket, $key, $secret, ['transport' => 'ring', 'connect_timeout_ms' => 60_000]);
$data = str_pad('{"order":4711', 199, ',"field":"contents"').'}';

// Attaches.
$sidecar->broadcast('orders.4711', 'App\Events\OrderShipped', $data);
$signal('STOP');

try {
    for ($n = 1; $n < (int) $times; $n++) {
        $sidecar->broadcast('orders.4711', 'App\Events\OrderShipped', $data);
    }
} finally {
    $signal('CONT');
}
