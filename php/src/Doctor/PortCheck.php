<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

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

        $listener = @stream_socket_server("tcp://{$server->listen()}", $code, $error, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN);

        if ($listener !== false) {
            fclose($listener);
            yield Finding::good("{$server->listen()} is free.");

            return;
        }

        // PHP gives no number for a failed bind.
        yield match (true) {
            str_contains($error, 'Address already in use') => Finding::error(
                "Another program listens on {$server->listen()}.",
                "Stop it (`ss -ltnp 'sport = :{$server->port}'` names it), or set FANFARE_PORT.",
            ),
            str_contains($error, 'Permission denied') => Finding::error(
                "This user may not listen on {$server->listen()}.",
                'Use a port from 1024 on, behind a proxy, or give the server CAP_NET_BIND_SERVICE.',
            ),
            default => Finding::error("Cannot listen on {$server->listen()}: {$error}.", 'Set FANFARE_HOST to an address of this machine, such as 0.0.0.0.'),
        };
    }
}
