<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether Laravel broadcasts through Fanfare at all.
 */
final readonly class BroadcastingCheck implements Check
{
    public function title(): string
    {
        return 'Broadcasting';
    }

    public function findings(Subject $subject): iterable
    {
        $default = $subject->broadcasting['default'] ?? null;
        $name = is_string($default) ? $default : 'null';
        $driver = $subject->connection()['driver'] ?? null;

        yield $driver === 'fanfare'
            ? Finding::good("The default connection \"{$name}\" is Fanfare's.")
            : Finding::error(
                "The default broadcasting connection is \"{$name}\""
                .($driver === null ? ', which does not exist' : ', of the driver '.(is_string($driver) ? $driver : 'null'))
                .': events do not go through Fanfare.',
                'Set BROADCAST_CONNECTION=fanfare in .env'.($subject->configurationCache === null ? '.' : ', and `php artisan config:cache`.'),
            );
    }
}
