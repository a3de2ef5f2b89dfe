<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Closure;
use Fanfare\Laravel\Api\ApiTransport;
use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\HttpTransport;
use Fanfare\Laravel\Api\SidecarTransport;
use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\PublisherConfig;
use Psr\Log\LoggerInterface;

/**
 * The ways from this process to servers, in the order in which they are tried, as the configuration and
 * what PHP has loaded allow them. The one place where a further way is added.
 */
final class Ways
{
    /** @var non-empty-list<Publisher>|null */
    private ?array $publishers = null;

    private ?PublisherConfig $chosenFor = null;

    /**
     * @param  Closure(): LoggerInterface  $log
     */
    public function __construct(
        private readonly ConnectionConfig $config,
        private readonly Connections $connections,
        private readonly ExtensionNotice $notice,
        private readonly Closure $log,
    ) {}

    /**
     * The ways of a publication. The same list for as long as the configuration is the same.
     *
     * @return non-empty-list<Publisher>
     */
    public function publishers(): array
    {
        $config = $this->config->checked();

        if ($this->publishers === null || $this->chosenFor !== $config) {
            $this->publishers = $this->choose($config);
            $this->chosenFor = $config;
        }

        return $this->publishers;
    }

    /**
     * The ways of a question. The server of this host is asked first even where publications go through the
     * extension alone: by the extension where it is loaded, else over HTTP.
     *
     * @return non-empty-list<ApiTransport>
     */
    public function transports(): array
    {
        $config = $this->config->checked();
        $ways = $config->fallback;

        if ($ways === [] || $config->usesExtension() && ! in_array(ApiWay::Unix, $ways, true)) {
            array_unshift($ways, ApiWay::Unix);
        }

        $transports = array_map($this->transport(...), $ways);

        return (
            $config->usesExtension() && extension_loaded('fanfare')
                ? [new SidecarTransport($this->config), ...$transports]
                : $transports
        );
    }

    /**
     * @return non-empty-list<Publisher>
     */
    private function choose(PublisherConfig $config): array
    {
        $http = array_map(fn (ApiWay $way): HttpPublisher => new HttpPublisher($this->transport($way)), $config->fallback);

        if ($http !== [] && ! $config->usesExtension()) {
            return $http;
        }

        if ($http !== [] && ! extension_loaded('fanfare')) {
            $this->notice->give(($this->log)());

            return $http;
        }

        // Without the extension and without another way, it says how to get the extension.
        return [new SidecarPublisher($config), ...$http];
    }

    private function transport(ApiWay $way): HttpTransport
    {
        return new HttpTransport($this->config, $way, $this->connections);
    }
}
