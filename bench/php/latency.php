<?php

declare(strict_types=1);

/*
 * Publishes at a steady pace; every publication carries its number and the time just before its broadcast() by
 * CLOCK_MONOTONIC, which all processes of the machine share. The process sleeps in between, as a worker does.
 *
 * Assumes that the autoloader was prepended, and that the subscriber is there.
 */

use Fanfare\Bench\Task;

$task = Task::fromStandardInput();
$sidecar = $task->sidecar('ring');
$channel = $task->text('channel');
$interval = $task->number('interval_us') * 1_000;
$count = $task->number('count');
$filling = str_repeat('x', 150);
$next = hrtime(true);

for ($number = 0; $number < $count; $number++) {
    $next += $interval;
    $pause = $next - hrtime(true);

    if ($pause > 0) {
        time_nanosleep(0, $pause);
    }

    $sidecar->broadcast($channel, 'tick', sprintf('{"number":%d,"at_ns":%d,"filling":"%s"}', $number, hrtime(true), $filling));
}

$task->answer(['sent' => $count]);
