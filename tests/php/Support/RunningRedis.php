<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * A real Redis, or Valkey, at a Unix socket; it keeps nothing on disk and ends with this.
 */
final readonly class RunningRedis
{
    /** Where it listens. */
    public string $socket;

    private RunningCommand $process;

    /**
     * @param  'redis'|'valkey'  $which
     * @param  list<string>  $options  further ones, which win
     */
    public function __construct(Scratch $scratch, string $which = 'redis', array $options = [])
    {
        $this->socket = $scratch->path("{$which}.sock");
        $this->process = new RunningCommand([
            Program::path("{$which}-server"), '--port', '0', '--unixsocket', $this->socket, '--save', '', '--appendonly', 'no', '--dir', $scratch->path(''), ...$options,
        ]);
        $this->process->line('eady to accept connections');
    }

    public function stop(): int
    {
        return $this->process->signal(SIGTERM)->exitCode();
    }
}
