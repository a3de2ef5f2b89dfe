<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * Events were not kept, because more waited than may (the server's limit listener_queue_bytes_max): whoever keeps a
 * state by them has to ask for it anew.
 */
final readonly class EventsMissed
{
    /**
     * @param  string  $id  the same when it is told again
     * @param  string  $app  the app's id
     * @param  int  $count  how many
     */
    public function __construct(
        public string $id,
        public string $app,
        public int $count,
    ) {}
}
