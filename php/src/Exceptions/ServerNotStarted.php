<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The operating system would not start the server's binary.
 */
final class ServerNotStarted extends RuntimeException
{
    public static function from(string $binary, string $reason): self
    {
        return new self(
            "Expected {$binary} to start, found: {$reason}. ".'Check that it is built for this machine and that this user may execute it.',
        );
    }
}
