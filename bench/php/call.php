<?php

declare(strict_types=1);

/*
 * What one Fanfare\Sidecar::broadcast() costs, without Laravel.
 *
 * The part `awake` commits bursts that fit into the ring to a server that is reading: after one broadcast that
 * it has read, it looks at the ring again for look_again_us before it sleeps. `asleep` makes each call when the
 * server has said, in the ring's header, that it sleeps; the kernel's count of its sleeps is the proof. `socket`
 * does without shared memory.
 *
 * Assumes that the autoloader was prepended.
 */

use Fanfare\Bench\Clock;
use Fanfare\Bench\SharedRing;
use Fanfare\Bench\Sleeps;
use Fanfare\Bench\Task;

const CHANNEL = 'orders.4711';
const EVENT = 'App\\Events\\OrderShipped';
/** Calls without a pause: as many as a ring of 1 MiB holds several times over, so that it never fills. */
const BURSTS = [200 => 1_000, 2_048 => 150];

$task = Task::fromStandardInput();
$part = $task->text('part');
$rounds = $task->number('rounds');
$sidecar = $task->sidecar($part === 'socket' ? 'socket' : 'ring');
$result = [];

// Connects; from here on there is a ring.
$sidecar->broadcast(CHANNEL, EVENT, '{}');

foreach (BURSTS as $bytes => $burst) {
    $data = str_repeat('x', $bytes);

    $call = static function () use ($sidecar, $data): void {
        $sidecar->broadcast(CHANNEL, EVENT, $data);
    };

    $calls = static function (int $count) use ($sidecar, $data): void {
        for ($n = 0; $n < $count; $n++) {
            $sidecar->broadcast(CHANNEL, EVENT, $data);
        }
    };

    if ($part === 'socket') {
        // The first round fills caches and buffers.
        Clock::perCallOfBurst(1, $burst, $calls, static fn () => null);
        $result["socket_{$bytes}"] = Clock::perCallOfBurst($rounds, $burst, $calls, static fn () => null);
        $result["socket_idle_{$bytes}"] = Clock::perSingleCall($rounds, $call, static fn () => usleep(2_000));

        continue;
    }

    $ring = SharedRing::ofThisProcess();

    $wake = static function () use ($ring, $call): void {
        $ring->waitUntilDrained();
        $call();
        $ring->waitUntilDrained();
    };

    if ($part === 'awake') {
        $result['yardstick'] ??= Clock::perCallOfBurst($rounds, 10_000, static function (int $count): void {
            for ($n = 0; $n < $count; $n++);
        }, static fn () => null);

        // Until every page of the ring has been written once.
        Clock::perCallOfBurst(20, $burst, $calls, $wake);
        $result["awake_{$bytes}"] = Clock::perCallOfBurst($rounds, $burst, $calls, $wake);
        $result["sustained_{$bytes}"] = Clock::perCallOfBurst(1, $rounds * $burst, $calls, $wake);
        $result["idle_{$bytes}"] = Clock::perSingleCall($rounds, $call, static function () use ($ring): void {
            usleep(2_000);
            $ring->waitUntilServerSleeps();
        });

        continue;
    }

    $server = $task->number('server_pid');
    $label = $task->text('label');
    $singles = $rounds * 20;
    Clock::perSingleCall(100, $call, $ring->waitUntilServerSleeps(...));
    $before = Sleeps::of($server);
    $result["{$label}_{$bytes}"] = Clock::perSingleCall($singles, $call, $ring->waitUntilServerSleeps(...));
    $result["{$label}_sleeps_per_call_{$bytes}"] = (Sleeps::of($server) - $before) / $singles;
}

$task->answer($result);
