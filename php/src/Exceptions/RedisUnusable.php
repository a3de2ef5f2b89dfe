<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * A server of Redis cannot be reached, or does not let this application in. The message says what was found.
 */
final class RedisUnusable extends RuntimeException
{
    public function __construct(string $message, public readonly string $remedy)
    {
        parent::__construct($message);
    }
}
