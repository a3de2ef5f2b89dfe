<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Sidecar;

/**
 * Publishes through the extension, into memory that the server on this host reads.
 *
 * Owns one Sidecar object, made at the first publication and again when the configuration is another one.
 * The attachment behind it belongs to the process and is the extension's: it outlives this object and is
 * shared with every other one.
 */
final class SidecarPublisher implements Publisher
{
    private ?Sidecar $sidecar = null;

    private ?PublisherConfig $openedFor = null;

    public function __construct(private readonly ConnectionConfig $config) {}

    public function publish(array $channels, string $event, string $data, ?string $except): void
    {
        $this->sidecar()->broadcast($channels, $event, $data, $except);
    }

    /**
     * @throws ExtensionMissing
     */
    private function sidecar(): Sidecar
    {
        if (! extension_loaded('fanfare')) {
            throw ExtensionMissing::inThisProcess();
        }

        $config = $this->config->checked();

        if ($this->sidecar === null || $this->openedFor !== $config) {
            $this->sidecar = new Sidecar($config->socket, $config->app->key, $config->app->secret, $config->sidecarOptions());
            $this->openedFor = $config;
        }

        return $this->sidecar;
    }
}
