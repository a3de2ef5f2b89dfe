<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;
use Throwable;

/**
 * More than one way out of PHP was tried, and none took the publication.
 */
final class NotAccepted extends RuntimeException implements ApiFailed
{
    /**
     * @param  non-empty-list<Throwable>  $failures  in the order in which the ways were tried
     */
    private function __construct(string $message, public readonly array $failures)
    {
        // The first way is the one that was meant; the others only stood in for it.
        parent::__construct($message, previous: $failures[0]);
    }

    /**
     * @param  non-empty-list<Throwable>  $failures
     */
    public static function byAny(array $failures): self
    {
        return new self(
            implode('; then ', array_map(static fn (Throwable $e): string => rtrim($e->getMessage(), '.'), $failures)),
            $failures,
        );
    }
}
