<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;

/**
 * What a PHP process needs to publish: which app it speaks for, where the server is, how long to wait.
 */
final readonly class PublisherConfig
{
    private const int TIMEOUT_MS_MAX = 60_000;

    /**
     * @param  'auto'|'ring'|'socket'  $transport
     */
    private function __construct(
        public AppCredentials $app,
        public string $socket,
        public string $transport,
        public int $ringBytes,
        public int $publishTimeoutMs,
        public int $connectTimeoutMs,
        public int $exitTimeoutMs,
    ) {}

    /**
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  array<array-key, mixed>  $connection  the entry in broadcasting.connections; `app` names an app by id
     *
     * @throws InvalidConfiguration
     */
    public static function from(array $fanfare, array $connection = []): self
    {
        $mistakes = new Mistakes;
        $root = new Section($fanfare, 'fanfare', $mistakes);
        $publish = $root->section('publish');

        $apps = array_column(AppCredentials::list($root->sections('apps'), $mistakes), null, 'id');
        $id = $connection['app'] ?? array_key_first($apps);

        $app = is_string($id) || is_int($id) ? $apps[$id] ?? null : null;

        if ($apps !== [] && $app === null) {
            (new Section($connection, 'broadcasting.connections.*', $mistakes))
                ->mistaken('app', 'the id of an app in fanfare.apps ('.implode(', ', array_keys($apps)).')', $id);
        }

        $ringBytes = $publish->integer('ring_bytes', 1_048_576, 4_096, 268_435_456);

        if (($ringBytes & ($ringBytes - 1)) !== 0) {
            $publish->mistaken('ring_bytes', 'a power of two', $ringBytes);
        }

        $config = new self(
            $app ?? new AppCredentials('', '', ''),
            SocketPath::read($root),
            $publish->oneOf('transport', 'auto', ['auto', 'ring', 'socket']),
            $ringBytes,
            $publish->integer('timeout_ms', 250, 0, self::TIMEOUT_MS_MAX),
            $publish->integer('connect_timeout_ms', 500, 1, self::TIMEOUT_MS_MAX),
            $publish->integer('exit_timeout_ms', 1_000, 0, self::TIMEOUT_MS_MAX),
        );

        $mistakes->report();

        return $config;
    }

    /**
     * The options array of Fanfare\Sidecar.
     *
     * @return array{transport: string, ring_bytes: int, publish_timeout_ms: int, connect_timeout_ms: int, exit_timeout_ms: int}
     */
    public function sidecarOptions(): array
    {
        return [
            'transport' => $this->transport,
            'ring_bytes' => $this->ringBytes,
            'publish_timeout_ms' => $this->publishTimeoutMs,
            'connect_timeout_ms' => $this->connectTimeoutMs,
            'exit_timeout_ms' => $this->exitTimeoutMs,
        ];
    }
}
