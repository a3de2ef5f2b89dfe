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
     * @param  array<array-key, mixed>  $document  all of it, as it came
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
            self::texts($document, 'listen'),
            ($document['tls'] ?? false) === true,
            is_string($document['path'] ?? null) ? $document['path'] : '',
            $apps,
            self::number($attachments, 'ring'),
            self::number($attachments, 'socket'),
            self::optionalNumber(self::list($document, 'memory'), 'rss_bytes'),
            self::optionalNumber($openFiles, 'open'),
            self::optionalNumber($openFiles, 'max'),
            self::numbers($document, 'limits'),
            self::numbers($document, 'metrics'),
            $document,
        );
    }

    public function isServing(): bool
    {
        return $this->phase === 'serving';
    }

    /**
     * Whether there can be other servers: it was started with a Redis.
     */
    public function hasOthers(): bool
    {
        return $this->ofBroker('kind') === 'redis';
    }

    /**
     * What it is called among them.
     */
    public function nodeId(): string
    {
        return (string) $this->ofBroker('node_id');
    }

    /**
     * Since how many seconds the others are heard, or are not.
     */
    public function standingS(): ?int
    {
        $seconds = $this->ofBroker('standing_s');

        return is_int($seconds) ? $seconds : null;
    }

    /**
     * Why others are not heard, or why what this server knows is not shared with them, as `GET /ready` says it; null where
     * all is well, or there are no others.
     */
    public function degraded(): ?string
    {
        $broker = $this->document['broker'] ?? null;
        $store = is_array($broker) && is_array($broker['store'] ?? null) ? $broker['store'] : [];
        $because = static fn (mixed $reason): string => is_string($reason) ? $reason : 'no reason is known';

        return match (true) {
            ! $this->hasOthers() => null,
            $this->ofBroker('standing') === 'connecting' => 'Redis has not been reached yet',
            $this->ofBroker('standing') === 'away' => $because($this->ofBroker('reason')),
            ($store['standing'] ?? null) === 'away' => 'what this server knows is not kept in Redis: '.$because($store['reason'] ?? null),
            default => null,
        };
    }

    private function ofBroker(string $key): string|int|null
    {
        $broker = $this->document['broker'] ?? null;
        $value = is_array($broker) ? $broker[$key] ?? null : null;

        return is_string($value) || is_int($value) ? $value : null;
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

    /**
     * @param  array<array-key, mixed>  $values
     * @return list<string>
     */
    private static function texts(array $values, string $key): array
    {
        $texts = [];

        foreach (self::list($values, $key) as $value) {
            if (is_string($value)) {
                $texts[] = $value;
            }
        }

        return $texts;
    }

    /**
     * @param  array<array-key, mixed>  $values
     * @return array<string, int>
     */
    private static function numbers(array $values, string $key): array
    {
        $numbers = [];

        foreach (self::list($values, $key) as $name => $value) {
            if (is_string($name) && is_int($value)) {
                $numbers[$name] = $value;
            }
        }

        return $numbers;
    }

    private static function lacks(string $key, string $expected): UnexpectedValueException
    {
        return new UnexpectedValueException("a status without {$expected} as \"{$key}\"");
    }
}
