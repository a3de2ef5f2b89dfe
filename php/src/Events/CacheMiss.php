<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * Somebody has subscribed to a cache channel that remembers nothing.
 */
final readonly class CacheMiss
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
