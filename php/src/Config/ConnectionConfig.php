<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Closure;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Illuminate\Contracts\Config\Repository;

/**
 * The configuration of one broadcasting connection, checked when it is first needed and again when the
 * application that is served has another one.
 *
 * Laravel makes the default connection's driver whenever routes/channels.php is loaded, which is
 * also during `composer install` on a machine that has no .env yet; checking it then would break
 * commands that never broadcast. In a long-lived worker that driver outlives requests, and each request
 * may have a configuration of its own, such as a tenant's.
 */
final class ConnectionConfig
{
    private ?PublisherConfig $checked = null;

    /** @var array<array-key, mixed>|null */
    private ?array $source = null;

    /**
     * @param  Closure(): array<array-key, mixed>  $fanfare  what `fanfare` is configured to now
     * @param  array<array-key, mixed>  $connection
     */
    public function __construct(private readonly Closure $fanfare, private readonly array $connection) {}

    /**
     * The connection whose broadcasts are meant where none is named: the default one, if that is Fanfare's.
     *
     * @return array<array-key, mixed>
     */
    public static function ofDefault(Repository $config): array
    {
        $default = $config->get('broadcasting.default');
        $connection = is_string($default) ? $config->get("broadcasting.connections.{$default}") : null;

        return is_array($connection) && ($connection['driver'] ?? null) === 'fanfare' ? $connection : [];
    }

    /**
     * The same object for as long as the configuration is the same.
     *
     * @throws InvalidConfiguration
     */
    public function checked(): PublisherConfig
    {
        $fanfare = ($this->fanfare)();

        // Arrays that were not written to are the same memory, so that this usually compares two addresses.
        if ($this->checked === null || $fanfare !== $this->source) {
            $this->checked = PublisherConfig::from($fanfare, $this->connection);
            $this->source = $fanfare;
        }

        return $this->checked;
    }

    /**
     * The same connection, for another app.
     */
    public function ofApp(string $id): self
    {
        return new self($this->fanfare, ['app' => $id] + $this->connection);
    }

    /**
     * Keeps the secrets of the unchecked arrays out of dumps.
     *
     * @return array<string, mixed>
     */
    public function __debugInfo(): array
    {
        return ['checked' => $this->checked];
    }
}
