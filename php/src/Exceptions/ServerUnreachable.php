<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The server on this host did not answer over its Unix socket. `$reason` is for programs.
 */
final class ServerUnreachable extends RuntimeException
{
    private function __construct(string $message, public readonly string $reason)
    {
        parent::__construct($message);
    }

    /**
     * Whether it is for want of a server, so that asking again later may help without anybody's doing.
     */
    public function mayComeBack(): bool
    {
        return in_array($this->reason, ['no_socket', 'nobody_listens', 'not_answering', 'broke_off'], true);
    }

    /**
     * Whether it is this user who may not ask, which says nothing against the server.
     */
    public function isForbidden(): bool
    {
        return in_array($this->reason, ['not_permitted', 'not_allowed'], true);
    }

    public static function noSocket(string $socket): self
    {
        return new self(
            "Expected a server at the Unix socket {$socket}, found no such file. Start it with `php artisan fanfare:start`, "
            .'or correct FANFARE_SOCKET if it runs with another one.',
            'no_socket',
        );
    }

    public static function nobodyListens(string $socket): self
    {
        return new self(
            "Expected a server at the Unix socket {$socket}, found that nobody listens there: it has ended without "
            .'removing the file. Start it with `php artisan fanfare:start`; the file is replaced.',
            'nobody_listens',
        );
    }

    public static function notPermitted(string $socket, string $user): self
    {
        return new self(
            "Expected that {$user} may open the Unix socket {$socket}, found that its permissions, or those of its "
            .'directory, do not allow it. Run this as the user of the server, or set FANFARE_SOCKET_MODE and a common group.',
            'not_permitted',
        );
    }

    public static function notAllowed(string $socket, string $user): self
    {
        return new self(
            "Expected that {$user} may talk to the server at {$socket}, found that it turns this user away. Add the user id "
            .'to FANFARE_SOCKET_UIDS and restart the server, or run this as the user of the server.',
            'not_allowed',
        );
    }

    public static function notAnswering(string $socket, int $timeoutMs): self
    {
        return new self(
            "Expected an answer from the server at {$socket} within {$timeoutMs} ms, found none. See whether it is stopped "
            .'(kill -CONT), overloaded, or not a Fanfare server.',
            'not_answering',
        );
    }

    public static function answered(string $socket, string $found, string $reason = 'strange_answer'): self
    {
        return new self(
            "Expected an answer of a Fanfare server at {$socket}, found {$found}. "
            .'Install the server and this package in the same version, and restart the server.',
            $reason,
        );
    }

    /**
     * @param  string  $reason  the server's own word for it
     */
    public static function refused(string $socket, string $message, string $reason = 'refused'): self
    {
        return new self("The server at {$socket} says no: {$message}.", $reason);
    }

    public static function because(string $socket, string $error): self
    {
        return new self("Cannot reach the server at the Unix socket {$socket}: {$error}.", 'system');
    }
}
