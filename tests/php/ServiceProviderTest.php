<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Broadcasting\FanfareBroadcaster;
use Fanfare\Laravel\Client;
use Fanfare\Laravel\Facades\Fanfare;
use Fanfare\Laravel\FanfareServiceProvider;
use Fanfare\Laravel\Publishing\ExtensionNotice;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Illuminate\Contracts\Broadcasting\Factory;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\PackageManifest;
use PHPUnit\Framework\TestCase;

final class ServiceProviderTest extends TestCase
{
    public function test_composer_is_enough_for_laravel_to_find_the_package(): void
    {
        $app = ChatApplication::boot();

        // Nothing in the application names the package but its composer.json.
        self::assertContains(FanfareServiceProvider::class, $app->make(PackageManifest::class)->providers());
        self::assertTrue($app->providerIsLoaded(FanfareServiceProvider::class));
        self::assertArrayHasKey('fanfare:start', $app->make(Kernel::class)->all());
    }

    public function test_the_connection_and_its_driver_are_there_without_an_entry_in_the_configuration(): void
    {
        $app = ChatApplication::boot();
        $broadcasting = $app->make(Factory::class);

        self::assertFileDoesNotExist(ChatApplication::path('config/broadcasting.php'));
        self::assertInstanceOf(FanfareBroadcaster::class, $broadcasting->connection());
        self::assertSame($broadcasting->connection('fanfare'), $broadcasting->connection());
    }

    public function test_an_entry_in_the_configuration_is_left_alone(): void
    {
        $app = ChatApplication::boot();
        $app->make('config')->set('broadcasting.connections.fanfare', ['driver' => 'null']);

        (new FanfareServiceProvider($app))->register();

        self::assertSame(['driver' => 'null'], $app->make('config')->get('broadcasting.connections.fanfare'));
    }

    public function test_a_driver_that_is_only_made_needs_no_configuration(): void
    {
        // `composer install` on a fresh clone makes it, for routes/channels.php.
        $app = ChatApplication::boot(['fanfare.apps' => [], 'fanfare.socket' => null]);

        self::assertInstanceOf(FanfareBroadcaster::class, $app->make(Factory::class)->connection());
    }

    public function test_the_facade_is_there_by_its_short_name_and_its_client_lasts_for_a_request(): void
    {
        $app = ChatApplication::boot();

        self::assertSame(['Fanfare' => Fanfare::class], $app->make(PackageManifest::class)->aliases());
        self::assertSame($app->make(Client::class), Fanfare::getFacadeRoot());

        $client = $app->make(Client::class);
        $app->forgetScopedInstances();
        self::assertNotSame($client, $app->make(Client::class));
    }

    public function test_what_belongs_to_the_process_is_shared_by_all_clones_of_the_application(): void
    {
        $app = ChatApplication::boot();
        $sandbox = clone $app;

        self::assertSame($app->make(Connections::class), $sandbox->make(Connections::class));
        self::assertSame($app->make(ExtensionNotice::class), $sandbox->make(ExtensionNotice::class));
    }

    public function test_the_configuration_survives_being_cached(): void
    {
        $config = ChatApplication::boot()->make('config')->get('fanfare');

        self::assertSame($config, eval('return '.var_export($config, true).';'));
        self::assertSame(['apps', 'socket', 'url', 'publish', 'server', 'redis'], array_keys($config));
    }
}
