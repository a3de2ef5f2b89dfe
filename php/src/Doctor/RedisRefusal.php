<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * What Redis has against a command, in its words.
 */
final readonly class RedisRefusal
{
    public function __construct(public string $words) {}

    /** The first word, such as WRONGPASS. */
    public function code(): string
    {
        return explode(' ', $this->words, 2)[0];
    }
}
