<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\HttpTransport;
use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\AppConfig;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Publishing\HttpPublisher;
use Fanfare\Laravel\Server\CredentialsProbe;
use Fanfare\Laravel\Server\Inspector;
use Fanfare\Sidecar;
use RuntimeException;

/**
 * Whether a server runs, serves this application's app, and takes a broadcast with these credentials.
 * The broadcast is a real one, to a channel that nobody subscribes to, and is seen to arrive.
 */
final readonly class ServerCheck implements Check
{
    private const string CHANNEL = 'fanfare-doctor';

    private const string EVENT = 'fanfare:doctor';

    /** Quarters of a second. */
    private const int PATIENCE = 12;

    public function title(): string
    {
        return 'Server';
    }

    public function findings(Subject $subject): iterable
    {
        $status = $subject->status();

        if ($status === null) {
            yield Finding::note('Not looked at: the configuration has mistakes.');

            return;
        }

        if ($status instanceof ServerUnreachable) {
            yield Finding::error(
                $status->getMessage(),
                $status->isForbidden()
                    ? 'If PHP broadcasts as this user: run the server as this user, or let it in by FANFARE_SOCKET_UIDS and FANFARE_SOCKET_MODE.'
                    : 'See above; `php artisan fanfare:start` in a terminal shows what the server says.',
            );

            return;
        }

        yield $status->isServing()
            ? Finding::good("Process {$status->pid} serves on ".implode(', ', $status->listen).'.')
            : Finding::error("Process {$status->pid} is {$status->phase}.", 'Wait until it has left, and start another one.');

        $configured = array_map(static fn (AppConfig $app): string => $app->credentials->id, $subject->server()->apps ?? []);
        $unknown = array_diff($configured, array_map(strval(...), array_keys($status->apps)));

        if ($unknown !== []) {
            yield Finding::error(
                'It does not know the app '.implode(', ', $unknown).' of this configuration, but '.implode(', ', array_keys($status->apps)).'.',
                'Was it started before .env was changed? `php artisan fanfare:restart`. Otherwise correct FANFARE_APP_ID.',
            );
        }

        yield from $this->broadcast($subject);
    }

    /**
     * @return iterable<Finding>
     */
    private function broadcast(Subject $subject): iterable
    {
        try {
            $config = $subject->publisher();
            $tail = (new Inspector($config->socket))->tail($config->app->id, self::CHANNEL);
            $mark = bin2hex(random_bytes(8));
            $began = hrtime(true);
            $by = $this->publish($subject, $config, "\"{$mark}\"");
        } catch (InvalidConfiguration|ServerUnreachable $e) {
            yield Finding::error("No broadcast could be tried: {$e->getMessage()}", 'See above.');

            return;
        } catch (RuntimeException $e) {
            yield Finding::error(
                "A broadcast is not accepted: {$e->getMessage()}",
                CredentialsProbe::fault($subject->fanfare, $subject->fanfareConnection()) === null
                    ? 'docs/extension.md ("When broadcast() throws") has every case.'
                    : CredentialsProbe::REMEDY,
            );

            return;
        }

        $patience = self::PATIENCE;

        try {
            if ($this->arrives($tail, $mark)) {
                $ms = number_format((hrtime(true) - $began) / 1e6, 1);

                yield Finding::good("A broadcast with these credentials arrived in {$ms} ms, connecting included, by {$by}.");

                return;
            }
        } catch (ServerUnreachable $e) {
            yield Finding::warning("A broadcast was accepted; whether it arrives could not be seen: {$e->getMessage()}", 'See above.');

            return;
        }

        yield Finding::error(
            'A broadcast was accepted, but the server did not show it.',
            'See whether the server is overloaded: `php artisan fanfare:status`. If not, report it.',
        );
    }

    /**
     * @param  iterable<string|null>  $tail
     *
     * @throws ServerUnreachable
     */
    private function arrives(iterable $tail, string $mark): bool
    {
        $patience = self::PATIENCE;

        foreach ($tail as $line) {
            if ($line !== null && str_contains($line, $mark)) {
                return true;
            }

            if ($line === null && --$patience === 0) {
                return false;
            }
        }

        return false;
    }

    /**
     * By the way that this PHP has; says which one it was.
     */
    private function publish(Subject $subject, PublisherConfig $config, string $data): string
    {
        if (! extension_loaded('fanfare') || ! $config->usesExtension()) {
            $connection = new ConnectionConfig(static fn (): array => $subject->fanfare, $subject->fanfareConnection());
            (new HttpPublisher(new HttpTransport($connection, ApiWay::Unix, new Connections)))->publish([self::CHANNEL], self::EVENT, $data, null);

            return 'HTTP over the Unix socket';
        }

        $sidecar = new Sidecar($config->socket, $config->app->key, $config->app->secret, $config->sidecarOptions());
        $sidecar->broadcast(self::CHANNEL, self::EVENT, $data);

        return match (true) {
            $sidecar->transport() === 'ring' => 'shared memory',
            $config->transport === 'socket' => 'the socket, as it is configured',
            default => 'the socket, since shared memory could not be had',
        };
    }
}
