<?php

declare(strict_types=1);

namespace Fanfare\Laravel;

use Closure;
use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\FallbackTransport;
use Fanfare\Laravel\Broadcasting\FanfareBroadcaster;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\ServedConfiguration;
use Fanfare\Laravel\Publishing\ExtensionNotice;
use Fanfare\Laravel\Publishing\FallbackPublisher;
use Fanfare\Laravel\Publishing\Outlet;
use Fanfare\Laravel\Publishing\Ways;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Foundation\Application;
use Psr\Log\LoggerInterface;

/**
 * Puts the parts together that publish and ask. Makes no connection and reads no configuration yet.
 */
final readonly class Assembly
{
    private ServedConfiguration $configuration;

    /**
     * @param  Closure(): Application  $app  the application that is served now: a worker keeps what is made here,
     *                                       and serves one application after the other
     */
    public function __construct(private Closure $app)
    {
        $this->configuration = new ServedConfiguration($app);
    }

    /**
     * @param  array<array-key, mixed>  $connection  the entry in broadcasting.connections
     */
    public function broadcaster(array $connection): FanfareBroadcaster
    {
        $config = new ConnectionConfig($this->configuration->read(...), $connection);

        return new FanfareBroadcaster($this->outlet($config), $config, ($connection['jsonp'] ?? false) === true);
    }

    /**
     * The client of the default connection, if that is one of Fanfare's, or else of the one named `fanfare`.
     */
    public function client(): Client
    {
        $config = ($this->app)()->make(Repository::class);
        $default = $config->get('broadcasting.default');
        $connection = is_string($default) ? $config->get("broadcasting.connections.{$default}") : null;

        if (! is_array($connection) || ($connection['driver'] ?? null) !== 'fanfare') {
            $connection = $config->get('broadcasting.connections.fanfare');
        }

        return $this->clientOf(new ConnectionConfig($this->configuration->read(...), is_array($connection) ? $connection : []));
    }

    private function clientOf(ConnectionConfig $config): Client
    {
        return new Client(
            $this->outlet($config),
            new FallbackTransport($this->ways($config)->transports(...)),
            fn (string $id): Client => $this->clientOf($config->ofApp($id)),
        );
    }

    private function outlet(ConnectionConfig $config): Outlet
    {
        return new Outlet(new FallbackPublisher($this->ways($config)->publishers(...)), $config);
    }

    private function ways(ConnectionConfig $config): Ways
    {
        $app = ($this->app)();

        return new Ways(
            $config,
            $app->make(Connections::class),
            $app->make(ExtensionNotice::class),
            fn (): LoggerInterface => ($this->app)()->make(LoggerInterface::class),
        );
    }
}
