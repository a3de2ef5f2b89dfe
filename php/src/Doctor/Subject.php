<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Server\ServerStatus;
use Fanfare\Laravel\Server\Versions;
use Fanfare\Laravel\Server\WaysOut;

/**
 * The installation that is examined: what Laravel is configured with, and what checks share because
 * asking twice would be slow or could get two answers.
 */
final class Subject
{
    private ServerConfig|InvalidConfiguration|null $server = null;

    private ServerStatus|ServerUnreachable|null $status = null;

    private ?Versions $versions = null;

    /** False: not asked yet. */
    private PortAnswer|false|null $portAnswer = false;

    /** @var list<FpmBinary>|null */
    private ?array $fpm = null;

    /**
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  array<array-key, mixed>  $broadcasting  config/broadcasting.php
     * @param  array<array-key, mixed>  $queue  config/queue.php
     * @param  string|null  $configurationCache  the file, if the configuration is cached
     * @param  list<string>  $configurationSources  the files that it was made from
     * @param  string|null  $url  where browsers connect, if somebody said so
     * @param  string  $origin  the application's own URL
     * @param  string  $path  directories between colons, where programs are looked for
     * @param  list<string>  $packages  names of installed Composer packages
     * @param  array<array-key, mixed>  $redis  database.redis
     */
    public function __construct(
        public readonly array $fanfare,
        public readonly array $broadcasting,
        public readonly array $queue,
        public readonly ?string $configurationCache,
        public readonly array $configurationSources,
        public readonly ?string $url,
        public readonly string $origin,
        public readonly string $path,
        public readonly array $packages,
        private readonly BinaryLocator $locator,
        private readonly array $redis = [],
    ) {}

    /**
     * Null when the configuration has mistakes, which the check of the configuration tells.
     */
    public function server(): ?ServerConfig
    {
        $this->server ??= $this->readServer();

        return $this->server instanceof ServerConfig ? $this->server : null;
    }

    /**
     * What a process publishes with, by the default connection if that is Fanfare's.
     *
     * @throws InvalidConfiguration
     */
    public function publisher(): PublisherConfig
    {
        return PublisherConfig::from($this->fanfare, $this->fanfareConnection());
    }

    /**
     * The ways out of a PHP that has loaded the extension, or not. Null when the configuration has mistakes.
     */
    public function waysOut(bool $isLoaded): ?WaysOut
    {
        try {
            return new WaysOut($this->publisher(), $isLoaded);
        } catch (InvalidConfiguration) {
            return null;
        }
    }

    /**
     * @return list<string>
     */
    public function mistakes(): array
    {
        $mistakes = $this->server() === null && $this->server instanceof InvalidConfiguration ? $this->server->mistakes : [];

        try {
            $this->publisher();
        } catch (InvalidConfiguration $e) {
            array_push($mistakes, ...$e->mistakes);
        }

        return array_values(array_unique($mistakes));
    }

    /**
     * @return array<array-key, mixed>
     */
    public function fanfareConnection(): array
    {
        $connection = $this->connection();

        return ($connection['driver'] ?? null) === 'fanfare' ? $connection : [];
    }

    /**
     * The broadcasting connection that is the default.
     *
     * @return array<array-key, mixed>
     */
    public function connection(): array
    {
        $name = $this->broadcasting['default'] ?? null;
        $connection = is_string($name) ? $this->broadcasting['connections'][$name] ?? null : null;

        return is_array($connection) ? $connection : [];
    }

    /**
     * What the running server says, or why there is no answer. Null without a sound configuration.
     */
    public function status(): ServerStatus|ServerUnreachable|null
    {
        $server = $this->server();

        if ($server === null) {
            return null;
        }

        try {
            return $this->status ??= (new Inspector($server->socket))->status();
        } catch (ServerUnreachable $e) {
            return $this->status = $e;
        }
    }

    /**
     * The running server, if there is one that answers.
     */
    public function running(): ?ServerStatus
    {
        $status = $this->status();

        return $status instanceof ServerStatus ? $status : null;
    }

    /**
     * The Fanfare server at the configured port, running() or not.
     */
    public function portAnswer(): ?PortAnswer
    {
        $server = $this->server();

        if ($this->portAnswer === false) {
            $this->portAnswer = $server === null ? null : PortAnswer::of($server);
        }

        return $this->portAnswer;
    }

    public function versions(): Versions
    {
        $configured = $this->fanfare['server']['binary'] ?? null;

        return $this->versions ??= Versions::installed($this->locator, is_string($configured) && $configured !== '' ? $configured : null);
    }

    /**
     * @return list<FpmBinary>
     */
    public function fpm(): array
    {
        return $this->fpm ??= FpmBinary::all($this->path);
    }

    public function hasPackage(string $name): bool
    {
        return in_array($name, $this->packages, true);
    }

    private function readServer(): ServerConfig|InvalidConfiguration
    {
        try {
            return ServerConfig::from($this->fanfare, [], $this->redis);
        } catch (InvalidConfiguration $e) {
            return $e;
        }
    }
}
