<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Illuminate\Broadcasting\BroadcastException;
use Throwable;

/**
 * An event is larger than the server, or the memory shared with it, takes. Trying again does not help.
 */
final class PayloadTooLarge extends BroadcastException
{
    public static function of(string $what, int $dataBytes, int $ringBytes, Throwable $previous): self
    {
        return new self(
            "{$what} failed, with data of {$dataBytes} bytes: {$previous->getMessage()}. "
            .'The limits are fanfare.server.limits.data_bytes_max for the data of one event, and half of '
            ."fanfare.publish.ring_bytes (now {$ringBytes}) for an event with its names.",
            previous: $previous,
        );
    }
}
