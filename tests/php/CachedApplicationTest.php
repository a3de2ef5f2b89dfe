<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\WebSocket;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * An application as it is deployed: its configuration, events and routes are cached, and the .env that they were made
 * from is not there any more.
 */
final class CachedApplicationTest extends TestCase
{
    use OwnDirectory;

    private const string CHANNELS = <<<'PHP'
        <?php

        use Illuminate\Support\Facades\Broadcast;

        Broadcast::channel('orders.{id}', static fn (object $user, string $id): bool => $id === '7');

        PHP;

    private const string CONSOLE = <<<'PHP'
        <?php

        use Illuminate\Support\Facades\Artisan;
        use Illuminate\Support\Facades\Broadcast;

        Artisan::command('say {text}', function (string $text): void {
            Broadcast::private('orders.7')->as('Said')->with(['text' => $text])->sendNow();
        });

        PHP;

    /** Asks the application as a browser does that is signed in, and says its answer. */
    private const string ASK = <<<'PHP'
        <?php

        require __DIR__.'/vendor/autoload.php';
        $app = require __DIR__.'/bootstrap/app.php';
        $kernel = $app->make(Illuminate\Contracts\Http\Kernel::class);
        $kernel->bootstrap();
        $request = Illuminate\Http\Request::create('/broadcasting/auth', 'POST', ['socket_id' => $argv[1], 'channel_name' => $argv[2]]);
        $app->instance('request', $request);
        $app->make('auth')->guard()->setUser(new Illuminate\Auth\GenericUser(['id' => 1]));
        echo $kernel->handle($request)->getContent(), "\n";

        PHP;

    /**
     * @param  list<string>  $commands
     * @param  list<string>  $files  that they make
     */
    #[DataProvider('caches')]
    public function test_everything_works_from_the_caches_alone(array $commands, array $files): void
    {
        $app = new FreshApplication($this->scratch, ['routes/channels.php' => self::CHANNELS, 'routes/console.php' => self::CONSOLE, 'ask.php' => self::ASK, 'resources/views/welcome.blade.php' => "<p>Hello</p>\n"]);
        $install = $app->artisan(['fanfare:install', '--no-interaction', '--without-echo']);
        self::assertSame(0, $install->exitCode(), $install->transcript);
        $this->scratch->file('app/.env', $app->read('.env')."FANFARE_HOST=127.0.0.1\nFANFARE_LOG_FORMAT=json\n");
        preg_match('/^FANFARE_APP_KEY=(.+)$/m', $app->read('.env'), $key);

        foreach ($commands as $command) {
            $cache = $app->artisan([$command]);
            self::assertSame(0, $cache->exitCode(), $cache->transcript);
        }

        foreach ($files as $file) {
            self::assertFileExists("{$app->directory}/bootstrap/cache/{$file}");
        }

        // Asked for again, the installation knows that a cache would hide what it writes.
        self::assertStringContainsString('run `php artisan config:clear`', self::said($app->artisan(['fanfare:install', '--no-interaction', '--without-echo'])));

        unlink("{$app->directory}/.env");
        $server = $app->artisan(['fanfare:start', '--port=0']);
        $serving = json_decode($server->line('"serving"'), true, flags: JSON_THROW_ON_ERROR)['fields'];
        self::assertSame("{$app->directory}/storage/framework/fanfare.sock", $serving['socket']);

        $status = $app->artisan(['fanfare:status', '--json', '--interval=0'], ['FANFARE_BINARY' => null]);
        self::assertSame(0, $status->exitCode(), $status->transcript);
        self::assertStringContainsString('broadcasting\/auth', self::said($app->artisan(['route:list', '--path=broadcasting', '--json'])));

        // A client is let in by the application, and hears it.
        $client = new WebSocket("http://{$serving['listen']}/app/{$key[1]}?protocol=7");
        $answer = self::said($this->ask($app, $client->socketId, 'private-orders.7'));
        self::assertJson($answer, $answer);
        $auth = json_decode($answer, true, flags: JSON_THROW_ON_ERROR)['auth'];
        $client->subscribe('private-orders.7', ['auth' => $auth]);
        self::said($app->artisan(['say', 'grüße']));
        self::assertSame(['event' => 'Said', 'channel' => 'private-orders.7', 'data' => '{"text":"gr\u00fc\u00dfe"}'], $client->event());

        // Nobody is let in where the callback says no.
        self::assertStringNotContainsString('"auth"', self::said($this->ask($app, $client->socketId, 'private-orders.8')));

        self::assertSame(0, $app->artisan(['fanfare:stop'])->exitCode());
        self::assertSame(0, $server->exitCode());
    }

    /**
     * @return iterable<string, array{list<string>, list<string>}>
     */
    public static function caches(): iterable
    {
        yield 'one by one' => [['config:cache', 'event:cache', 'route:cache'], ['config.php', 'events.php', 'routes-v7.php']];
        yield 'optimize' => [['optimize'], ['config.php', 'events.php', 'routes-v7.php']];
    }

    private function ask(FreshApplication $app, string $socketId, string $channel): RunningCommand
    {
        return new RunningCommand([PHP_BINARY, 'ask.php', $socketId, $channel], $app->directory);
    }

    private static function said(RunningCommand $command): string
    {
        self::assertSame(0, $command->exitCode(), $command->transcript);

        return $command->transcript;
    }
}
