<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Fanfare\Laravel\Config\Endpoint;
use RuntimeException;
use Throwable;

/**
 * Something answered, but not as Pusher's HTTP API does.
 */
final class UnexpectedAnswer extends RuntimeException implements ApiFailed
{
    private const int EXCERPT_BYTES = 200;

    public static function to(string $request, string $expected, string $found, ?Throwable $previous = null): self
    {
        return new self(
            "expected {$expected} in answer to {$request}, but found {$found}; see whether this is the address of a Fanfare server",
            previous: $previous,
        );
    }

    public static function tooLong(Endpoint $endpoint, int $bytesMax): self
    {
        return new self(
            "expected an answer of at most {$bytesMax} bytes from {$endpoint->label()}, but found more; ask for less, such as channels with a prefix",
        );
    }

    /**
     * The beginning of what strangers sent, fit for a message.
     */
    public static function excerpt(string $bytes): string
    {
        if ($bytes === '') {
            return 'an empty body';
        }

        return (string) json_encode(
            strlen($bytes) > self::EXCERPT_BYTES ? substr($bytes, 0, self::EXCERPT_BYTES).'…' : $bytes,
            JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE,
        );
    }
}
