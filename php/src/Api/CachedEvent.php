<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

/**
 * The last event of a cache channel.
 */
final readonly class CachedEvent
{
    /**
     * @param  string  $data  as it was published: JSON, in most cases
     * @param  int  $ttlS  for how many seconds more it is kept
     */
    public function __construct(public string $data, public int $ttlS) {}
}
