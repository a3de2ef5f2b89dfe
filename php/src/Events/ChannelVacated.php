<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * A channel has lost its last subscriber, and nobody has come back for three seconds.
 */
final readonly class ChannelVacated
{
    /**
     * @param  string  $id  the same when it is told again
     * @param  string  $app  the app's id
     */
    public function __construct(
        public string $id,
        public string $app,
        public string $channel,
    ) {}
}
