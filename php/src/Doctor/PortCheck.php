<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\ServerUnreachable;

/**
 * Whether the port for browsers is the running server's, or free for one.
 */
final readonly class PortCheck implements Check
{
    public function title(): string
    {
        return 'Port';
    }

    public function findings(Subject $subject): iterable
    {
        $server = $subject->server();

        if ($server === null) {
            yield Finding::note('Not looked at: the configuration has mistakes.');

            return;
        }

        $running = $subject->running();

        if ($running !== null) {
            $ours = array_map(static fn (string $address): int => (int) substr((string) strrchr($address, ':'), 1), $running->listen);

            yield $server->port === 0 || in_array($server->port, $ours, true)
                ? Finding::good('The server listens on '.implode(', ', $running->listen).'.')
                : Finding::warning(
                    'The server listens on '.implode(', ', $running->listen).", but the configuration says port {$server->port}.",
                    'If it was not started with --port on purpose: `php artisan fanfare:restart`.',
                );

            return;
        }

        yield $this->unheard($subject, $server);
    }

    /**
     * Of a server that is not there, or that does not answer this user over its socket.
     */
    private function unheard(Subject $subject, ServerConfig $server): Finding
    {
        $listener = @stream_socket_server("tcp://{$server->listen()}", $code, $error, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN);

        if ($listener !== false) {
            fclose($listener);

            return Finding::good("{$server->listen()} is free.");
        }

        // PHP gives no number for a failed bind.
        return match (true) {
            str_contains((string) $error, 'Address already in use') => $this->taken($subject, $server),
            str_contains((string) $error, 'Permission denied') => Finding::error(
                "This user may not listen on {$server->listen()}.",
                'Use a port from 1024 on, behind a proxy, or give the server CAP_NET_BIND_SERVICE.',
            ),
            default => Finding::error("Cannot listen on {$server->listen()}: {$error}.", 'Set FANFARE_HOST to an address of this machine, such as 0.0.0.0.'),
        };
    }

    private function taken(Subject $subject, ServerConfig $server): Finding
    {
        $status = $subject->status();
        $names = "`ss -ltnp 'sport = :{$server->port}'` names it";

        return match (true) {
            $status instanceof ServerUnreachable && $status->isForbidden() => Finding::note(
                "A server runs that this user may not ask, and something listens on {$server->listen()}"
                .($subject->portAnswer() === null ? '.' : ': a Fanfare server.'),
                'Run fanfare:doctor as the user of the server to see whether it is that one.',
            ),
            $status instanceof ServerUnreachable && $status->reason === 'not_answering' => Finding::note(
                "The server at the socket does not answer, and something listens on {$server->listen()}: that server, most likely.",
                'See "Server" above.',
            ),
            $subject->portAnswer() !== null => Finding::error(
                "A Fanfare server with another socket listens on {$server->listen()}.",
                "Set FANFARE_SOCKET to the socket of that server ({$names}; `ss -lxp` shows its socket), or stop it, or set FANFARE_PORT.",
            ),
            default => Finding::error("Another program listens on {$server->listen()}.", "Stop it ({$names}), or set FANFARE_PORT."),
        };
    }
}
