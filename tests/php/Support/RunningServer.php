<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * The real server, started by `fanfare:start` in an application of the test's own; it ends with this.
 */
final class RunningServer
{
    public const string KEY = 'test-key';

    public readonly ScratchApplication $application;

    public readonly RunningCommand $command;

    public readonly int $port;

    public readonly int $pid;

    /**
     * @param  array<string, string>  $env  of the application, beside what every one has
     * @param  list<string>  $options  of fanfare:start
     */
    public function __construct(Scratch $scratch, array $env = [], array $options = [])
    {
        $this->application = self::application($scratch, $env);
        $this->command = $this->application->artisan('fanfare:start', ...$options);
        $serving = json_decode($this->command->line('"serving"'), true, flags: JSON_THROW_ON_ERROR)['fields'];
        $this->pid = $serving['pid'];
        $this->port = (int) substr((string) strrchr($serving['listen'], ':'), 1);
    }

    /**
     * An application that could start one.
     *
     * @param  array<string, string>  $env
     */
    public static function application(Scratch $scratch, array $env = []): ScratchApplication
    {
        return new ScratchApplication($scratch, $env + [
            'APP_ENV' => 'local',
            'BROADCAST_CONNECTION' => 'fanfare',
            'FANFARE_APP_ID' => 'test',
            'FANFARE_APP_KEY' => self::KEY,
            'FANFARE_APP_SECRET' => 'test-secret-3f9a',
            'FANFARE_SOCKET' => $scratch->path('fanfare.sock'),
            'FANFARE_HOST' => '127.0.0.1',
            'FANFARE_PORT' => '0',
            'FANFARE_SHARDS' => '1',
            'FANFARE_LOG_FORMAT' => 'json',
            'FANFARE_BINARY' => ChatApplication::serverBinary(),
            'QUEUE_CONNECTION' => 'database',
        ]);
    }

    public function stop(): void
    {
        $this->command->signal(SIGTERM)->exitCode();
    }
}
