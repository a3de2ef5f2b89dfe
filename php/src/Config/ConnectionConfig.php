<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;

/**
 * The configuration of one broadcasting connection, checked when it is first needed.
 *
 * Laravel makes the default connection's driver whenever routes/channels.php is loaded, which is
 * also during `composer install` on a machine that has no .env yet; checking it then would break
 * commands that never broadcast.
 */
final class ConnectionConfig
{
    private ?PublisherConfig $checked = null;

    /**
     * @param  array<array-key, mixed>  $fanfare
     * @param  array<array-key, mixed>  $connection
     */
    public function __construct(private readonly array $fanfare, private readonly array $connection) {}

    /**
     * @throws InvalidConfiguration
     */
    public function checked(): PublisherConfig
    {
        return $this->checked ??= PublisherConfig::from($this->fanfare, $this->connection);
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
