<?php

declare(strict_types=1);

namespace Fanfare\Laravel;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Broadcasting\FanfareBroadcaster;
use Fanfare\Laravel\Console\StartCommand;
use Fanfare\Laravel\Publishing\ExtensionNotice;
use Fanfare\Laravel\Server\BinaryLocator;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Support\ServiceProvider;

/**
 * Tells Laravel about Fanfare: its configuration, the `fanfare` broadcasting connection and driver,
 * and the commands. Makes nothing that is not asked for: the driver is registered once the
 * application resolves broadcasting, and attaches to the server when it first broadcasts.
 */
final class FanfareServiceProvider extends ServiceProvider
{
    private const string CONFIG = __DIR__.'/../config/fanfare.php';

    public function register(): void
    {
        $this->mergeConfigFrom(self::CONFIG, 'fanfare');
        $this->addConnection($this->app->make(Repository::class));

        $this->app->bind(BinaryLocator::class, static fn (Application $app): BinaryLocator => new BinaryLocator(
            $app->basePath('vendor/bin'),
            (string) getenv('PATH'),
        ));

        // Made now, so that whatever is cloned from this application shares them: what belongs to the process
        // must outlive a request.
        $this->app->instance(Connections::class, new Connections);
        $this->app->instance(ExtensionNotice::class, new ExtensionNotice($this->app->storagePath('framework/fanfare-warned')));

        $this->app->scoped(
            Client::class,
            static fn (Application $app): Client => (new Assembly(static fn (): Application => $app))->client(),
        );

        $this->callAfterResolving(BroadcastManager::class, static function (BroadcastManager $manager): void {
            $assembly = new Assembly($manager->getApplication(...));
            $manager->extend(
                'fanfare',
                static fn (Application $app, array $connection): FanfareBroadcaster => $assembly->broadcaster($connection),
            );
        });
    }

    public function boot(): void
    {
        if (! $this->app->runningInConsole()) {
            return;
        }

        $this->publishes([self::CONFIG => $this->app->configPath('fanfare.php')], 'fanfare-config');
        $this->commands([StartCommand::class]);
    }

    /**
     * Makes `BROADCAST_CONNECTION=fanfare` work without an entry in config/broadcasting.php.
     */
    private function addConnection(Repository $config): void
    {
        if ($config->get('broadcasting.connections.fanfare') === null) {
            $config->set('broadcasting.connections.fanfare', ['driver' => 'fanfare']);
        }
    }
}
