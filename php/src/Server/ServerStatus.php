<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use UnexpectedValueException;

/**
 * What a running server says of itself: `GET /status`.
 */
final readonly class ServerStatus
{
    /**
     * @param  list<string>  $listen  addresses with ports
     * @param  bool  $tls  whether that port speaks TLS
     * @param  string  $path  what comes before /app/{key}
     * @param  array<string, array{connections: int, channels: int, enabled: bool}>  $apps  by id
     * @param  array<string, int>  $metrics  by name, as in docs/operations.md
     * @param  array<string, int>  $limits
     * @param  array<string, mixed>  $document  all of it, as it came
     */
    private function __construct(
        public string $version,
        public int $pid,
        public int $uid,
        public int $startedAt,
        public int $uptimeS,
        public string $phase,
        public int $shards,
        public array $listen,
        public bool $tls,
        public string $path,
        public array $apps,
        public int $attachedByRing,
        public int $attachedBySocket,
        public ?int $memoryBytes,
        public ?int $openFiles,
        public ?int $openFilesMax,
        public array $limits,
        public array $metrics,
        public array $document,
    ) {}

    /**
     * @param  array<array-key, mixed>  $document
     *
     * @throws UnexpectedValueException when it is not what a server answers
     */
    public static function from(array $document): self
    {
        $apps = [];

        foreach (self::list($document, 'apps') as $app) {
            $app = is_array($app) ? $app : [];
            $apps[self::text($app, 'id')] = [
                'connections' => self::number($app, 'connections'),
                'channels' => self::number($app, 'channels'),
                'enabled' => ($app['enabled'] ?? true) === true,
            ];
        }

        $attachments = self::list($document, 'attachments');
        $openFiles = self::list($document, 'open_files');

        return new self(
            self::text($document, 'version'),
            self::number($document, 'pid'),
            self::number($document, 'uid'),
            self::number($document, 'started_at'),
            self::number($document, 'uptime_s'),
            self::text($document, 'phase'),
            self::number($document, 'shards'),
            array_values(array_filter(self::list($document, 'listen'), is_string(...))),
            ($document['tls'] ?? false) === true,
            is_string($document['path'] ?? null) ? $document['path'] : '',
            $apps,
            self::number($attachments, 'ring'),
            self::number($attachments, 'socket'),
            self::optionalNumber(self::list($document, 'memory'), 'rss_bytes'),
            self::optionalNumber($openFiles, 'open'),
            self::optionalNumber($openFiles, 'max'),
            array_filter(self::list($document, 'limits'), is_int(...)),
            array_filter(self::list($document, 'metrics'), is_int(...)),
            $document,
        );
    }

    public function isServing(): bool
    {
        return $this->phase === 'serving';
    }

    public function metric(string $name): int
    {
        return $this->metrics[$name] ?? 0;
    }

    public function channels(): int
    {
        return array_sum(array_column($this->apps, 'channels'));
    }

    /**
     * @param  array<array-key, mixed>  $values
     */
    private static function text(array $values, string $key): string
    {
        return is_string($values[$key] ?? null) ? $values[$key] : throw self::lacks($key, 'text');
    }

    /**
     * @param  array<array-key, mixed>  $values
     */
    private static function number(array $values, string $key): int
    {
        return self::optionalNumber($values, $key) ?? throw self::lacks($key, 'a whole number');
    }

    /**
     * @param  array<array-key, mixed>  $values
     */
    private static function optionalNumber(array $values, string $key): ?int
    {
        return is_int($values[$key] ?? null) ? $values[$key] : null;
    }

    /**
     * @param  array<array-key, mixed>  $values
     * @return array<array-key, mixed>
     */
    private static function list(array $values, string $key): array
    {
        return is_array($values[$key] ?? null) ? $values[$key] : throw self::lacks($key, 'a list or an object');
    }

    private static function lacks(string $key, string $expected): UnexpectedValueException
    {
        return new UnexpectedValueException("a status without {$expected} as \"{$key}\"");
    }
}
