<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Fanfare\Laravel\Server\User;
use RuntimeException;

/**
 * There is no server to stop or restart, or this user may not.
 */
final class NotStoppable extends RuntimeException
{
    public static function nothingRuns(string $socket): self
    {
        return new self("Expected a server with the socket {$socket}, found that none runs: nobody holds {$socket}.lock. Start one with `php artisan fanfare:start`, or correct FANFARE_SOCKET.");
    }

    public static function outOfSight(string $socket): self
    {
        return new self("Expected a server on this host, found that one in another container holds {$socket}.lock: stop or restart it there.");
    }

    public static function belongsTo(int $pid, ?User $owner): self
    {
        $whose = $owner === null ? 'another user' : $owner->describe();
        $as = $owner?->name();

        return new self(
            "Expected that ".User::current()->describe()." may signal the server (process {$pid}), found that it belongs to {$whose}. Run this as that user"
            .($as === null ? '' : " (`sudo -u {$as} php artisan …`)").' or as root, or tell the supervisor.',
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
