<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Fanfare\Exception as SidecarFailed;
use Fanfare\Laravel\Config\Endpoint;
use RuntimeException;
use Throwable;

/**
 * No answer came from where a server's HTTP API should be.
 */
final class ApiUnreachable extends RuntimeException implements ApiFailed
{
    /**
     * @param  bool  $mayHaveArrived  whether the request may have been carried out all the same
     */
    private function __construct(string $message, public readonly bool $mayHaveArrived, ?Throwable $previous = null)
    {
        parent::__construct($message, previous: $previous);
    }

    /**
     * @param  string  $reason  libcurl's words
     */
    public static function at(Endpoint $endpoint, string $reason, bool $mayHaveArrived): self
    {
        $remedy = match (true) {
            $mayHaveArrived => 'the request may have been carried out; see whether the server is overloaded, or raise FANFARE_HTTP_TIMEOUT_MS',
            $endpoint->socket !== null => 'start the server with `php artisan fanfare:start`, or see whether this user may open the socket',
            default => 'start the server there, or correct FANFARE_API_URL',
        };

        return new self(
            "expected an answer from a Fanfare server at {$endpoint->label()} within {$endpoint->timeoutMs} ms, but found: ".rtrim($reason, '.')."; {$remedy}",
            $mayHaveArrived,
        );
    }

    /**
     * @param  SidecarFailed  $e  the extension's word on it, which says what to do
     */
    public static function through(SidecarFailed $e, bool $mayHaveArrived): self
    {
        return new self($e->getMessage().($mayHaveArrived ? '; the request may have been carried out' : ''), $mayHaveArrived, $e);
    }

    /**
     * @param  list<self>  $each  in the order in which they were tried
     */
    public static function anywhere(array $each): self
    {
        if (count($each) === 1) {
            return $each[0];
        }

        return new self(
            implode('; then ', array_map(static fn (self $e): string => $e->getMessage(), $each)),
            array_filter($each, static fn (self $e): bool => $e->mayHaveArrived) !== [],
            $each === [] ? null : $each[count($each) - 1],
        );
    }
}
