<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * A user has left a presence channel with the last connection, and has not come back for three seconds.
 */
final readonly class MemberRemoved
{
    /**
     * @param  string  $id  the same when it is told again
     * @param  string  $app  the app's id
     */
    public function __construct(
        public string $id,
        public string $app,
        public string $channel,
        public string $userId,
    ) {}
}
