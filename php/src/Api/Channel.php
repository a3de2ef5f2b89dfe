<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

/**
 * A channel as the server has it at the moment of the answer, over all its nodes.
 */
final readonly class Channel
{
    /**
     * @param  bool  $occupied  whether anybody is subscribed
     * @param  int|null  $subscriptionCount  connections; null: the server did not say
     * @param  int|null  $userCount  distinct members; null on channels without presence
     * @param  CachedEvent|null  $cached  what a new subscriber of a cache channel is sent first; only channel() asks for it
     */
    public function __construct(
        public string $name,
        public bool $occupied,
        public ?int $subscriptionCount,
        public ?int $userCount,
        public ?CachedEvent $cached = null,
    ) {}
}
