<?php

declare(strict_types=1);

/*
 * What it costs to ask who is on a presence channel: by the extension alone, and through the Fanfare facade by each
 * of its ways.
 *
 * Assumes that the autoloader was prepended.
 */

use Fanfare\Bench\Clock;
use Fanfare\Bench\LaravelApplication;
use Fanfare\Bench\Task;
use Fanfare\Laravel\Facades\Fanfare;

const QUESTIONS = 20;

$task = Task::fromStandardInput();
$config = LaravelApplication::boot($task)->make('config');
$channel = $task->text('channel');
$sidecar = $task->sidecar('ring');

$ask = static function (int $count) use ($sidecar, $channel): void {
    for ($n = 0; $n < $count; $n++) {
        $sidecar->ask('GET', "/channels/{$channel}/users");
    }
};

$members = static function (int $count) use ($channel): void {
    for ($n = 0; $n < $count; $n++) {
        Fanfare::members($channel);
    }
};

/** @param array<string, string> $publish */
$by = static fn (array $publish): Closure => static function () use ($config, $publish, $channel, $task): void {
    $config->set('fanfare.publish', $publish);

    if (count(Fanfare::members($channel)) !== $task->number('members')) {
        throw new RuntimeException("Expected {$task->number('members')} members on {$channel}, found others.");
    }
};

/** @var array<string, array{Closure, Closure}> $lines the burst, what comes before */
$lines = [
    'ask' => [$ask, $by([])],
    'extension' => [$members, $by([])],
    'unix' => [$members, $by(['transport' => 'http', 'fallback' => 'unix'])],
    'url' => [$members, $by(['transport' => 'http', 'fallback' => 'url', 'url' => $task->text('url')])],
];

$observed = [];

// The first three turns are for caches and connections.
for ($turn = -3; $turn < $task->number('rounds'); $turn++) {
    foreach ($lines as $name => [$burst, $before]) {
        $took = Clock::burst(QUESTIONS, $burst, $before);

        if ($turn >= 0) {
            $observed[$name][] = $took;
        }
    }
}

$task->answer(array_map(Clock::median(...), $observed));
