<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;

/**
 * What the server is started with. PHP checks what it can name in Laravel's own words; the server
 * checks all of it again and has the last word on limits.
 */
final readonly class ServerConfig
{
    private const array KEYS = [
        'host', 'port', 'path', 'tls', 'trusted_proxies', 'shards', 'socket_mode', 'socket_uids', 'log', 'limits', 'webhook_ca_file', 'binary',
    ];

    private const string MODE = 'an octal mode as a string, such as "0660"';

    /**
     * @param  string  $path  empty, or begins with a slash
     * @param  list<string>  $trustedProxies
     * @param  list<int>  $socketUids
     * @param  array<string, int>  $limits
     * @param  list<AppConfig>  $apps  at least one: none is a mistake that was reported
     */
    private function __construct(
        public string $host,
        public int $port,
        public string $path,
        public ?TlsConfig $tls,
        public array $trustedProxies,
        public string $socket,
        public string $socketMode,
        public array $socketUids,
        public ?int $shards,
        public string $logLevel,
        public string $logFormat,
        public array $limits,
        public ?string $webhookCaFile,
        public ?RedisConfig $redis,
        public array $apps,
        public ?string $binary,
    ) {}

    /**
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  array<string, string>  $overrides  host, port, socket and log level of the command line
     * @param  ?array<array-key, mixed>  $redis  database.redis, for a server that is to be started
     *
     * @throws InvalidConfiguration
     */
    public static function from(array $fanfare, array $overrides = [], ?array $redis = null): self
    {
        $mistakes = new Mistakes;
        $root = new Section(self::overridden($fanfare, $overrides), 'fanfare', $mistakes);
        // What the command line says wins, and is reported as its own.
        $server = $root->section('server')->under(new Section(
            array_intersect_key($overrides, ['host' => true, 'port' => true]),
            'fanfare.server',
            $mistakes,
            ['host' => '--host', 'port' => '--port'],
        ));
        $log = $server->section('log');
        $server->only(self::KEYS);
        $log->only(['level', 'format']);

        $host = $server->text('host', '0.0.0.0', 'an IP address', 'set FANFARE_HOST');
        // A bracketed IPv6 address is how the address is written in URLs, so it is understood here too.
        $bare = trim($host, '[]');

        if ($bare !== 'localhost' && filter_var($bare, FILTER_VALIDATE_IP) === false) {
            $server->mistaken('host', 'an IP address to listen on, or localhost', $host, 'use 0.0.0.0 for all interfaces');
        }

        // A number is refused: 0660 without quotes reaches us as 432, which is a valid mode of another meaning.
        $mode = $server->optionalText('socket_mode', self::MODE) ?? '0660';

        if (preg_match('/\A0?[0-7]{3}\z/', $mode) !== 1) {
            $server->mistaken('socket_mode', self::MODE, $mode);
        }

        $path = $server->optionalText('path', 'a path such as "/ws"') ?? '';

        if ($path !== '' && ! str_starts_with($path, '/')) {
            $server->mistaken('path', 'a path that begins with a slash', $path, 'put a slash before it');
        }

        $config = new self(
            $bare === 'localhost' ? '127.0.0.1' : $bare,
            $server->integer('port', 8080, 0, 65_535),
            $path,
            TlsConfig::read($server->section('tls')),
            $server->texts('trusted_proxies', 'an address, a network such as 10.0.0.0/8, or *', self::isProxy(...)),
            SocketPath::read($root),
            $mode,
            $server->integers('socket_uids', 0, 4_294_967_294, 'the id of a user is what `id -u www-data` says'),
            $server->optionalInteger('shards', 1, 64),
            $log->oneOf('level', 'info', ['error', 'warn', 'info', 'debug', 'trace']),
            $log->oneOf('format', 'text', ['text', 'json']),
            $server->integersByName('limits'),
            $server->optionalPath('webhook_ca_file', 'the path of a PEM file'),
            RedisConfig::read($root->section('redis'), $redis, $mistakes),
            AppConfig::list($root->sections('apps'), $mistakes),
            $server->optionalText('binary', 'the path of an executable'),
        );

        $mistakes->report();

        return $config;
    }

    /**
     * The address that the server binds, as its configuration writes it.
     */
    public function listen(): string
    {
        return (str_contains($this->host, ':') ? "[{$this->host}]" : $this->host).":{$this->port}";
    }

    /**
     * The document that `fanfare serve` reads. Holds secrets: it belongs on a pipe, not in a file,
     * an argument or the environment.
     */
    public function toJson(): string
    {
        $document = [
            'listen' => $this->listen(),
            'socket' => $this->socket,
            'socket_mode' => $this->socketMode,
            'socket_uids' => $this->socketUids,
            'log' => ['level' => $this->logLevel, 'format' => $this->logFormat],
            'apps' => array_map(static fn (AppConfig $app): array => $app->document(), $this->apps),
        ];

        $document += array_filter([
            'path' => $this->path,
            'tls' => $this->tls?->document(),
            'trusted_proxies' => $this->trustedProxies,
            'shards' => $this->shards,
            'limits' => $this->limits,
            'webhook_ca_file' => $this->webhookCaFile,
            'redis' => $this->redis?->document(),
        ]);

        return json_encode($document, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
    }

    private static function isProxy(string $text): bool
    {
        if ($text === '*') {
            return true;
        }

        $parts = explode('/', $text, 2);
        $address = $parts[0];
        $bits = $parts[1] ?? null;
        $bitsMax = filter_var($address, FILTER_VALIDATE_IP, FILTER_FLAG_IPV4) === false ? 128 : 32;

        return filter_var($address, FILTER_VALIDATE_IP) !== false
            && ($bits === null || (preg_match('/\A\d{1,3}\z/', $bits) === 1 && (int) $bits <= $bitsMax));
    }

    /**
     * @param  array<array-key, mixed>  $fanfare
     * @param  array<string, string>  $overrides
     * @return array<array-key, mixed>
     */
    private static function overridden(array $fanfare, array $overrides): array
    {
        $server = is_array($fanfare['server'] ?? null) ? $fanfare['server'] : [];

        if (isset($overrides['log_level'])) {
            $server['log'] = ['level' => $overrides['log_level']] + (is_array($server['log'] ?? null) ? $server['log'] : []);
        }

        $fanfare['server'] = $server;

        if (isset($overrides['socket'])) {
            $fanfare['socket'] = $overrides['socket'];
        }

        return $fanfare;
    }
}
