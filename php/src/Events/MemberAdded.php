<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * A user has come to a presence channel, with a first connection.
 */
final readonly class MemberAdded
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
