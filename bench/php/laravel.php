<?php

declare(strict_types=1);

/*
 * What a broadcast costs in Laravel: the driver call and a whole event, through Fanfare, through the null driver
 * (all that Laravel itself does), and the HTTP request that the other drivers make.
 *
 * All lines carry the same event. They take turns, so that what disturbs the machine disturbs all of them. Bursts
 * begin with an empty ring and a server that is awake.
 *
 * Assumes that the autoloader was prepended.
 */

use Fanfare\Bench\Clock;
use Fanfare\Bench\LaravelApplication;
use Fanfare\Bench\OrderShipped;
use Fanfare\Bench\SharedRing;
use Fanfare\Bench\Task;
use GuzzleHttp\Client;
use Illuminate\Support\Facades\Broadcast;

const BURST = 500;
const REQUESTS = 10;

$task = Task::fromStandardInput();
$app = LaravelApplication::boot($task);
$config = $app->make('config');

$payload = OrderShipped::example()->payload();
$data = json_encode($payload, JSON_THROW_ON_ERROR);
$channels = ['orders.4711'];

$driver = static fn (string $connection): Closure => static function (int $count) use ($connection, $channels, $payload): void {
    for ($n = 0; $n < $count; $n++) {
        Broadcast::connection($connection)->broadcast($channels, OrderShipped::class, $payload);
    }
};

$event = static function (int $count): void {
    for ($n = 0; $n < $count; $n++) {
        broadcast(OrderShipped::example());
    }
};

// As Laravel's Pusher driver has it: one client for the process, the connection is kept. Signing is left out.
$http = new Client(['base_uri' => $task->text('post_url'), 'timeout' => 30]);
$post = static function (int $count) use ($http, $channels, $data): void {
    $body = json_encode(['name' => OrderShipped::class, 'data' => $data, 'channels' => $channels], JSON_THROW_ON_ERROR);

    for ($n = 0; $n < $count; $n++) {
        $status = $http->post('/apps/app/events', [
            'body' => $body,
            'headers' => ['Content-Type' => 'application/json'],
            'http_errors' => false,
        ])->getStatusCode();

        if ($status !== 200) {
            throw new RuntimeException("Expected status 200 from the bench's own HTTP server, found {$status}.");
        }
    }
};

$sidecar = $task->sidecar('ring');
$direct = static function (int $count) use ($sidecar, $channels, $data): void {
    for ($n = 0; $n < $count; $n++) {
        $sidecar->broadcast($channels, OrderShipped::class, $data);
    }
};

$sidecar->broadcast($channels, OrderShipped::class, $data);
$ring = SharedRing::ofThisProcess();

$ready = static function () use ($ring, $direct): void {
    $ring->waitUntilDrained();
    $direct(1);
    $ring->waitUntilDrained();
};

$through = static fn (string $connection): Closure => static function () use ($config, $connection, $ready): void {
    $config->set('broadcasting.default', $connection);
    $ready();
};

/** @var array<string, array{int, Closure, Closure}> $lines calls in a burst, the burst, what comes before */
$lines = [
    'sidecar' => [BURST, $direct, $ready],
    'null_driver' => [BURST, $driver('null'), $ready],
    'fanfare_driver' => [BURST, $driver('fanfare'), $ready],
    'null_event' => [BURST, $event, $through('null')],
    'fanfare_event' => [BURST, $event, $through('fanfare')],
    'guzzle_post' => [REQUESTS, $post, $ready],
];

$observed = [];

// The first three turns are for caches, connections and the ring's pages.
for ($turn = -3; $turn < $task->number('rounds'); $turn++) {
    foreach ($lines as $name => [$calls, $burst, $before]) {
        $took = Clock::burst($calls, $burst, $before);

        if ($turn >= 0) {
            $observed[$name][] = $took;
        }
    }
}

$task->answer(['data_bytes' => strlen($data)] + array_map(Clock::median(...), $observed));
