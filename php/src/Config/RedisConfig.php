<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * Where the Redis is over which several servers hear each other: with settings of its own, or those of one of
 * Laravel's connections. The server checks all of it again; it alone talks to Redis.
 */
final readonly class RedisConfig
{
    private const array KEYS = [
        'connection',
        'url',
        'cluster',
        'sentinel',
        'sentinel_username',
        'sentinel_password',
        'prefix',
        'username',
        'password',
        'password_file',
        'ca_file',
    ];

    /** What is in database.redis beside them. */
    private const array NO_CONNECTIONS = ['client', 'options', 'clusters'];

    private const string URL = 'a URL such as "redis://127.0.0.1:6379" or "rediss://redis.example.com:6379"';

    /**
     * @param  string|null  $connection  the connection of Laravel's that it is, if it is one
     * @param  list<string>  $urls  at least one
     * @param  array<string, string>  $texts  by their names in the server's document
     * @param  array<string, string>  $sentinel  likewise; empty without Sentinels
     */
    private function __construct(
        public ?string $connection,
        public array $urls,
        public bool $cluster,
        public array $texts,
        public array $sentinel,
    ) {}

    /**
     * `fanfare.redis`; null when neither a URL nor a connection is named: there is one server.
     *
     * @param  ?array<array-key, mixed>  $laravel  database.redis; null where nobody needs what is in it
     */
    public static function read(Section $redis, ?array $laravel, Mistakes $mistakes): ?self
    {
        $redis->only(self::KEYS);

        $connection = $redis->optionalText('connection', 'the name of a connection in config/database.php, under redis');
        $urls = $redis->texts('url', self::URL, self::isUrl(...), 'set FANFARE_REDIS_URL');
        $texts = array_filter(
            [
                'prefix' => $redis->optionalText('prefix', 'text without { } or a space'),
                'username' => $redis->optionalText('username', 'a user of Redis'),
                'password' => $redis->optionalText('password', 'a password'),
                'password_file' => $redis->optionalPath('password_file', 'the path of a file with a password'),
                'ca_file' => $redis->optionalPath('ca_file', 'the path of a PEM file'),
            ],
            is_string(...),
        );
        $sentinel = array_filter(
            [
                'master' => $redis->optionalText('sentinel', 'the name of the primary, as the Sentinels have it'),
                'username' => $redis->optionalText('sentinel_username', 'a user of the Sentinels'),
                'password' => $redis->optionalText('sentinel_password', 'a password'),
            ],
            is_string(...),
        );
        $cluster = $redis->optionalBoolean('cluster') ?? false;

        if ($connection === null) {
            return $urls === [] ? null : new self(null, $urls, $cluster, $texts, isset($sentinel['master']) ? $sentinel : []);
        }

        if ($urls !== []) {
            $redis->mistaken('connection', 'a connection or a url', $connection, 'leave one of them out');
        }

        return $laravel === null ? null : self::ofLaravel($redis, $connection, $laravel, $texts, $mistakes);
    }

    /**
     * The connections that `redis.connection` may name.
     *
     * @param  array<array-key, mixed>  $laravel  database.redis
     * @return list<string>
     */
    public static function connections(array $laravel): array
    {
        $clusters = is_array($laravel['clusters'] ?? null) ? $laravel['clusters'] : [];
        $named = array_filter(array_diff_key($laravel, array_flip(self::NO_CONNECTIONS)), is_array(...)) + array_filter($clusters, is_array(...));

        return array_map(strval(...), array_keys($named));
    }

    /**
     * What every name in Redis begins with; the server has the same default.
     */
    public function prefix(): string
    {
        return $this->texts['prefix'] ?? 'fanfare:';
    }

    /**
     * @return array<string, mixed>
     */
    public function document(): array
    {
        return (
            ['url' => count($this->urls) === 1 ? $this->urls[0] : $this->urls]
            + ($this->cluster ? ['cluster' => true] : [])
            + ($this->sentinel === [] ? [] : ['sentinel' => $this->sentinel])
            + $this->texts
        );
    }

    /**
     * @param  array<array-key, mixed>  $laravel
     * @param  array<string, string>  $texts
     */
    private static function ofLaravel(Section $redis, string $name, array $laravel, array $texts, Mistakes $mistakes): ?self
    {
        $clusters = is_array($laravel['clusters'] ?? null) ? $laravel['clusters'] : [];
        $single = $laravel[$name] ?? null;
        $nodes = $clusters[$name] ?? null;

        if (! in_array($name, self::NO_CONNECTIONS, true) && is_array($single)) {
            $servers = ["database.redis.{$name}" => $single];
        } elseif (is_array($nodes) && $nodes !== []) {
            $servers = [];

            foreach ($nodes as $position => $node) {
                $servers["database.redis.clusters.{$name}.{$position}"] = is_array($node) ? $node : [];
            }
        } else {
            return $redis->mistaken(
                'connection',
                'the name of a connection in config/database.php, under redis',
                $name,
                'correct it, or set FANFARE_REDIS_URL',
            );
        }

        $urls = [];
        $credentials = [];

        foreach ($servers as $path => $server) {
            $section = new Section($server, $path, $mistakes);
            $urls[] = self::urlOf($section);
            // All servers of a cluster have the same users.
            $credentials += array_filter(
                [
                    'username' => $section->optionalText('username', 'a user of Redis'),
                    'password' => $section->optionalText('password', 'a password'),
                ],
                is_string(...),
            );
        }

        return new self($name, $urls, ! is_array($single), $texts + $credentials, []);
    }

    private static function urlOf(Section $server): string
    {
        $url = $server->optionalText('url', self::URL);

        if ($url !== null) {
            // Laravel understands tcp:// and tls:// too.
            return preg_replace(['~\Atcp://~', '~\Atls://~'], ['redis://', 'rediss://'], $url) ?? $url;
        }

        $host = $server->optionalText('host', 'a host') ?? '127.0.0.1';
        $scheme = $server->optionalText('scheme', 'tcp or tls') ?? 'tcp';

        if (str_starts_with($host, '/')) {
            return "unix:{$host}";
        }

        // Laravel has the scheme in the host, too.
        foreach (['tcp', 'tls'] as $own) {
            if (str_starts_with($host, "{$own}://")) {
                $scheme = $own;
                $host = substr($host, strlen("{$own}://"));
            }
        }

        $host = str_contains($host, ':') ? '['.trim($host, '[]').']' : $host;

        return (in_array($scheme, ['tls', 'rediss'], true) ? 'rediss' : 'redis')."://{$host}:".$server->integer('port', 6379, 1, 65_535);
    }

    private static function isUrl(string $text): bool
    {
        return preg_match('~\A((redis|rediss|valkey|valkeys)://.|(unix|redis\+unix|valkey\+unix):.)~', $text) === 1;
    }
}
