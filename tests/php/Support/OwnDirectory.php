<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use Illuminate\Foundation\Application;
use PHPUnit\Framework\Attributes\After;
use PHPUnit\Framework\Attributes\Before;

/**
 * A test that has a directory of its own, with a place for the server's socket, and applications that publish there.
 */
trait OwnDirectory
{
    private Scratch $scratch;

    private string $socket;

    #[Before]
    public function makeDirectory(): void
    {
        $this->scratch = new Scratch;
        $this->socket = $this->scratch->path('fanfare.sock');
    }

    #[After]
    public function removeDirectory(): void
    {
        $this->scratch->remove();
    }

    /**
     * @param  array<string, mixed>  $publish
     * @param  array<string, mixed>  $config  by dotted name
     */
    private function booted(array $publish = [], array $config = []): Application
    {
        $app = ChatApplication::boot(['fanfare.socket' => $this->socket, 'fanfare.publish' => self::patient($publish)]);
        $app->make('config')->set($config);

        return $app;
    }

    /**
     * With time-outs that a busy machine does not reach.
     *
     * @param  array<string, mixed>  $publish
     * @return array<string, mixed>
     */
    private static function patient(array $publish): array
    {
        return $publish + ['connect_timeout_ms' => 10_000, 'http_timeout_ms' => 10_000, 'exit_timeout_ms' => 10_000];
    }
}
