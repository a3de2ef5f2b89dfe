<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * There is no server to stop or restart, or this user may not.
 */
final class NotStoppable extends RuntimeException
{
    public static function nothingRuns(string $socket): self
    {
        return new self(
            "Expected a server with the socket {$socket}, found that none runs: nobody holds {$socket}.lock. Start one with `php artisan fanfare:start`, or correct FANFARE_SOCKET.",
        );
    }

    public static function outOfSight(string $socket): self
    {
        return new self("Expected a server on this host, found that one in another container holds {$socket}.lock: stop or restart it there.");
    }

    /**
     * @param  string  $me  who asks, in words
     * @param  string|null  $owner  whose it is, in words
     * @param  string|null  $name  the owner's, as commands take it
     */
    public static function belongsTo(int $pid, string $me, ?string $owner, ?string $name): self
    {
        $whose = $owner ?? 'another user';

        return new self(
            "Expected that {$me} may signal the server (process {$pid}), found that it belongs to {$whose}. Run this as that user"
            .($name === null ? '' : " (`sudo -u {$name} php artisan …`)")
            .' or as root, or tell the supervisor.',
        );
    }

    public static function because(int $pid, string $reason): self
    {
        return new self("Cannot signal the server (process {$pid}): {$reason}.");
    }

    public static function withoutPosix(): self
    {
        return new self('Signalling the server needs the PHP extension "posix", which this PHP has not loaded. Install it, or use kill and the supervisor.');
    }
}
