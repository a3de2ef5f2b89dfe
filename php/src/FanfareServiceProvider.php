<?php

declare(strict_types=1);

namespace Fanfare\Laravel;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Broadcasting\FanfareBroadcaster;
use Fanfare\Laravel\Console\DoctorCommand;
use Fanfare\Laravel\Console\InstallCommand;
use Fanfare\Laravel\Console\ListenCommand;
use Fanfare\Laravel\Console\RestartCommand;
use Fanfare\Laravel\Console\StartCommand;
use Fanfare\Laravel\Console\StatusCommand;
use Fanfare\Laravel\Console\StopCommand;
use Fanfare\Laravel\Console\TailCommand;
use Fanfare\Laravel\Publishing\ExtensionNotice;
use Fanfare\Laravel\Server\BinaryLocator;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Foundation\DevCommands;
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
        $this->commands([
            InstallCommand::class,
            StartCommand::class,
            RestartCommand::class,
            StopCommand::class,
            StatusCommand::class,
            TailCommand::class,
            ListenCommand::class,
            DoctorCommand::class,
        ]);
        $this->joinReload();
        $this->joinDevelopment($this->app->make(Repository::class));
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

    /**
     * `php artisan reload`, after a deployment, has the server replaced.
     */
    private function joinReload(): void
    {
        // Not every Laravel 13 has it.
        if (method_exists($this, 'reloads')) {
            $this->reloads('fanfare:restart', 'fanfare');
        }
    }

    /**
     * `php artisan dev` starts the server too, where the application broadcasts through it.
     */
    private function joinDevelopment(Repository $config): void
    {
        $default = $config->get('broadcasting.default');

        // Not every Laravel 13 has it.
        if (class_exists(DevCommands::class) && is_string($default) && $config->get("broadcasting.connections.{$default}.driver") === 'fanfare') {
            DevCommands::artisan(function_exists('pcntl_sigtimedwait') ? 'fanfare:start --watch' : 'fanfare:start', 'fanfare');
        }
    }
}
