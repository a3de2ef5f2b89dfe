<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * How events that implement ShouldBroadcast get to the driver.
 */
final readonly class QueueCheck implements Check
{
    public function title(): string
    {
        return 'Queue';
    }

    public function findings(Subject $subject): iterable
    {
        // QUEUE_CONNECTION=null in .env is no text, and Laravel throws away what is queued then.
        $name = $subject->queue['default'] ?? null;
        $name = is_string($name) ? $name : 'null';
        $driver = $subject->queue['connections'][$name]['driver'] ?? $name;

        yield match ($driver) {
            'sync' => Finding::warning(
                'The queue is "sync": a ShouldBroadcast event is broadcast inside the request that fires it, and its failure is the request\'s.',
                'That is fine with Fanfare if meant, and ShouldBroadcastNow says so. Otherwise set QUEUE_CONNECTION (database, redis) and run `php artisan queue:work`.',
            ),
            'null' => Finding::error(
                'The queue is "null": ShouldBroadcast events are thrown away.',
                'Set QUEUE_CONNECTION to database or redis, or use ShouldBroadcastNow.',
            ),
            default => Finding::good("ShouldBroadcast events go through the queue connection \"{$name}\"; workers (`php artisan queue:work`) broadcast them."),
        };
    }
}
