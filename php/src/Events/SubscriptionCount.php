<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Events;

/**
 * The number of a channel's subscribers has changed. Of several numbers that waited it is the latest.
 */
final readonly class SubscriptionCount
{
    /**
     * @param  string  $id  the same when it is told again
     * @param  string  $app  the app's id
     */
    public function __construct(
        public string $id,
        public string $app,
        public string $channel,
        public int $subscriptionCount,
    ) {}
}
