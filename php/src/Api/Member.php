<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

/**
 * A user on a presence channel, however many connections the user has there.
 */
final readonly class Member
{
    public function __construct(public string $id) {}
}
