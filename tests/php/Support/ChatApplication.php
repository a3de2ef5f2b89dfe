<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\Application;

/**
 * The application of examples/chat, booted in this process, with a configuration of the test's own.
 */
final class ChatApplication
{
    public const string KEY = 'test-key';

    public const string SECRET = 'test-secret-3f9a';

    /**
     * @param  array<string, mixed>  $config  by dotted name
     */
    public static function boot(array $config = []): Application
    {
        /** @var Application $app */
        $app = require self::path('bootstrap/app.php');
        $app->make(Kernel::class)->bootstrap();

        // Testing leaves no error handlers of Laravel's behind: PHPUnit looks after its own.
        restore_error_handler();
        restore_exception_handler();

        $app->make('config')->set($config + [
            'broadcasting.default' => 'fanfare',
            'logging.default' => 'null',
            'fanfare.apps' => [['id' => 'test', 'key' => self::KEY, 'secret' => self::SECRET]],
            'fanfare.socket' => '/nonexistent/fanfare.sock',
            // A busy machine is not what is tested.
            'fanfare.publish.connect_timeout_ms' => 10_000,
            'fanfare.publish.exit_timeout_ms' => 10_000,
        ]);

        return $app;
    }

    public static function path(string $below = ''): string
    {
        return dirname(__DIR__, 3).'/examples/chat/'.$below;
    }

    public static function serverBinary(): string
    {
        return dirname(__DIR__, 3).'/target/release/fanfare';
    }
}
