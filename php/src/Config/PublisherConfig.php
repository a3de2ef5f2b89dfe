<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use LogicException;

/**
 * What a PHP process needs to publish: which app it speaks for, where the server is, how long to wait.
 */
final readonly class PublisherConfig
{
    private const int TIMEOUT_MS_MAX = 60_000;

    /** The transport that leaves the extension out. */
    private const string HTTP = 'http';

    private const string CONNECTION = 'broadcasting.connections.*';

    /**
     * @param  'auto'|'ring'|'socket'|'http'  $transport
     * @param  list<ApiWay>  $fallback  in the order in which they are tried
     */
    private function __construct(
        public AppCredentials $app,
        public ?EncryptionMasterKey $encryptionMasterKey,
        public string $socket,
        public string $transport,
        public int $ringBytes,
        public int $publishTimeoutMs,
        public int $connectTimeoutMs,
        public int $exitTimeoutMs,
        public array $fallback,
        public int $httpTimeoutMs,
        public ?Endpoint $url,
    ) {}

    /**
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  array<array-key, mixed>  $connection  the entry in broadcasting.connections: `app` names an app by
     *                                               id, `publish` replaces values of `fanfare.publish`
     *
     * @throws InvalidConfiguration
     */
    public static function from(array $fanfare, array $connection = []): self
    {
        $mistakes = new Mistakes;
        $root = new Section($fanfare, 'fanfare', $mistakes);
        $own = new Section($connection, self::CONNECTION, $mistakes);
        $publish = $root->section('publish')->under($own->section('publish'));

        $app = self::app($root, $own, $connection['app'] ?? null, $mistakes);
        $ringBytes = $publish->integer('ring_bytes', 1_048_576, 4_096, 268_435_456);

        if (($ringBytes & ($ringBytes - 1)) !== 0) {
            $publish->mistaken('ring_bytes', 'a power of two', $ringBytes);
        }

        $socket = SocketPath::read($root);
        $transport = $publish->oneOf('transport', 'auto', ['auto', 'ring', 'socket', self::HTTP]);
        $httpTimeoutMs = $publish->integer('http_timeout_ms', 5_000, 1, self::TIMEOUT_MS_MAX);
        $url = Endpoint::ofUrl($publish, $httpTimeoutMs);

        $config = new self(
            $app,
            EncryptionMasterKey::ofApp($app->id, $root, $mistakes),
            $socket,
            $transport,
            $ringBytes,
            $publish->integer('timeout_ms', 250, 0, self::TIMEOUT_MS_MAX),
            $publish->integer('connect_timeout_ms', 500, 1, self::TIMEOUT_MS_MAX),
            $publish->integer('exit_timeout_ms', 1_000, 0, self::TIMEOUT_MS_MAX),
            self::fallback($publish, $transport, $url),
            $httpTimeoutMs,
            $url,
        );

        $mistakes->report();

        return $config;
    }

    /**
     * Whether publications go through the extension, where it is loaded.
     */
    public function usesExtension(): bool
    {
        return $this->transport !== self::HTTP;
    }

    /**
     * @throws InvalidConfiguration when the app has none
     */
    public function neededEncryptionMasterKey(): EncryptionMasterKey
    {
        return $this->encryptionMasterKey ?? throw EncryptionMasterKey::missing($this->app->id);
    }

    public function endpoint(ApiWay $way): Endpoint
    {
        return match ($way) {
            ApiWay::Unix => Endpoint::ofSocket($this->socket, $this->connectTimeoutMs, $this->httpTimeoutMs),
            // A fallback without a URL is a mistake that was reported.
            ApiWay::Url => $this->url ?? throw new LogicException('expected a configured url'),
        };
    }

    /**
     * The options array of Fanfare\Sidecar.
     *
     * @return array{transport: 'auto'|'ring'|'socket', ring_bytes: int, publish_timeout_ms: int, connect_timeout_ms: int, ask_timeout_ms: int, exit_timeout_ms: int}
     */
    public function sidecarOptions(): array
    {
        return [
            // Without the extension nobody asks for this.
            'transport' => $this->transport === self::HTTP ? 'auto' : $this->transport,
            'ring_bytes' => $this->ringBytes,
            'publish_timeout_ms' => $this->publishTimeoutMs,
            'connect_timeout_ms' => $this->connectTimeoutMs,
            'ask_timeout_ms' => $this->httpTimeoutMs,
            'exit_timeout_ms' => $this->exitTimeoutMs,
        ];
    }

    private static function app(Section $root, Section $own, mixed $id, Mistakes $mistakes): AppCredentials
    {
        $apps = array_column(AppCredentials::list($root->sections('apps'), $mistakes), null, 'id');
        $id ??= array_key_first($apps);
        $app = is_string($id) || is_int($id) ? $apps[$id] ?? null : null;

        if ($apps !== [] && $app === null) {
            $own->mistaken('app', 'the id of an app in fanfare.apps ('.implode(', ', array_keys($apps)).')', $id);
        }

        return $app ?? new AppCredentials('', '', '');
    }

    /**
     * @return list<ApiWay>
     */
    private static function fallback(Section $publish, string $transport, ?Endpoint $url): array
    {
        $ways = match ($publish->has('fallback') ? $publish->peek('fallback') : 'auto') {
            'none' => [],
            'auto' => $url === null ? [ApiWay::Unix] : ApiWay::cases(),
            default => array_map(ApiWay::from(...), $publish->someOf('fallback', ['unix', 'url'])),
        };

        if ($url === null && in_array(ApiWay::Url, $ways, true) && ! $publish->has('url')) {
            $publish->mistaken('url', 'a URL, since fallback names it', null, 'set FANFARE_API_URL');
        }

        if ($transport === self::HTTP && $ways === []) {
            $publish->mistaken('fallback', 'a way to the HTTP API, since transport is http', 'none', "set it to 'auto'");
        }

        return $ways;
    }
}
