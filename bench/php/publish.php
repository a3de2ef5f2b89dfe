<?php

declare(strict_types=1);

/*
 * Publishes what it is told, line by line, and stays attached in between, as a worker does. Every event carries its
 * number on its channel and the time just before its broadcast() by CLOCK_MONOTONIC, in the form of src/tick.rs.
 *
 * Assumes that the autoloader was prepended.
 */

use Fanfare\Bench\Task;

$task = Task::fromLine() ?? throw new RuntimeException('Expected a task on standard input, found none; start this script through bench/run.');
$event = $task->text('event');
$sidecar = $task->sidecar('ring');
// Attaches; nobody is subscribed.
$sidecar->broadcast('nobody', $event, '{}');
$task->answer(['ready' => true]);

while (($job = Task::fromLine()) !== null) {
    $channels = [];
    for ($n = 0; $n < $job->number('channels'); $n++) {
        $channels[] = sprintf('room-%06d', $job->number('first') + $n);
    }

    $filling = $job->part('filling');
    $before = $filling->text('before').'~';
    $after = $filling->text('after');
    $events = $job->number('events');
    $interval = $job->number('interval_ns');
    $count = count($channels);
    $next = hrtime(true);

    for ($number = 0; $number < $events; $number++) {
        if ($interval > 0) {
            $next += $interval;
            $pause = $next - hrtime(true);

            if ($pause > 0) {
                time_nanosleep(intdiv($pause, 1_000_000_000), $pause % 1_000_000_000);
            } else {
                // Late: what comes later is late too, since catching up would be a burst.
                $next -= $pause;
            }
        }

        $sidecar->broadcast($channels[$number % $count], $event, sprintf('%s%010d%020d%s', $before, intdiv($number, $count), hrtime(true), $after));
    }

    $job->answer(['sent' => $events]);
}
