<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Sidecar;

/**
 * Publishes through the extension, into memory that the server on this host reads.
 *
 * Owns one Sidecar object, made at the first publication. The attachment behind it belongs to the
 * process and is the extension's: it outlives this object and is shared with every other one.
 */
final class SidecarPublisher implements Publisher
{
    private ?Sidecar $sidecar = null;

    public function __construct(private readonly PublisherConfig $config) {}

    public function publish(array $channels, string $event, string $data, ?string $except): void
    {
        ($this->sidecar ??= $this->open())->broadcast($channels, $event, $data, $except);
    }

    /**
     * @throws ExtensionMissing
     */
    private function open(): Sidecar
    {
        if (! extension_loaded('fanfare')) {
            throw ExtensionMissing::inThisProcess();
        }

        return new Sidecar(
            $this->config->socket,
            $this->config->app->key,
            $this->config->app->secret,
            $this->config->sidecarOptions(),
        );
    }
}
