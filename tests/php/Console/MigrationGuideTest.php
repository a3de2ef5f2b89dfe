<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Doctor\FpmBinary;
use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\Guide;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningNginx;
use Fanfare\Laravel\Tests\Support\WebSocket;
use PHPUnit\Framework\TestCase;

/**
 * Does what docs/migrate-from-reverb.md says, command by command, in an application of its own with
 * packages of its own.
 */
final class MigrationGuideTest extends TestCase
{
    use OwnDirectory;

    private const string ENV = <<<'ENV'
        APP_NAME=Laravel
        APP_ENV=local
        APP_KEY=base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
        APP_URL=http://localhost
        QUEUE_CONNECTION=database
        CACHE_STORE=file
        SESSION_DRIVER=file

        BROADCAST_CONNECTION=reverb

        REVERB_APP_ID=654321
        REVERB_APP_KEY=reverbkeyreverbkey12
        REVERB_APP_SECRET=reverbsecretreverb12
        REVERB_HOST="localhost"
        REVERB_PORT=@port@
        REVERB_SCHEME=http
        REVERB_SERVER_HOST=127.0.0.1
        REVERB_SERVER_PORT=@port@

        VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
        VITE_REVERB_HOST="${REVERB_HOST}"
        VITE_REVERB_PORT="${REVERB_PORT}"
        VITE_REVERB_SCHEME="${REVERB_SCHEME}"

        ENV;

    private const string CONSOLE = <<<'PHP'
        <?php

        use Illuminate\Support\Facades\Artisan;
        use Illuminate\Support\Facades\Broadcast;

        Artisan::command('ship', fn () => Broadcast::on('orders')->as('Shipped')->with(['id' => 1])->sendNow());

        PHP;

    protected function setUp(): void
    {
        // The pools of a php-fpm on this machine may come in.
        chmod($this->scratch->path(''), 0o711);
    }

    public function test_the_guide_is_carried_out_line_by_line(): void
    {
        $port = RunningNginx::freePort();
        $app = new FreshApplication($this->scratch, [
            '.env' => str_replace('@port@', (string) $port, self::ENV),
            'routes/console.php' => self::CONSOLE,
            'resources/js/echo.js' => "new Echo({ broadcaster: 'reverb' });\n",
            'resources/js/bootstrap.js' => "import './echo';\n",
            'package.json' => '{"devDependencies": {"laravel-echo": "^2", "pusher-js": "^8"}}',
            'composer.json' => json_encode([
                'type' => 'project',
                'require' => ['laravel/framework' => '^13.0', 'laravel/reverb' => '^1.0'],
                'autoload' => ['psr-4' => ['App\\' => 'app/']],
                'scripts' => ['post-autoload-dump' => '@php artisan package:discover'],
                // Stands for the package that is removed in the end: nothing of it is used.
                'repositories' => ['reverb' => ['type' => 'package', 'package' => ['name' => 'laravel/reverb', 'version' => '1.0.0', 'type' => 'metapackage']]],
            ], JSON_THROW_ON_ERROR),
        ], packages: false);
        self::assertSame(0, $this->sh($app, 'composer install --no-interaction')->exitCode());

        $before = $app->read('.env');
        $blocks = str_replace('/path/to/fanfare', dirname(__DIR__, 3), Guide::blocks('migrate-from-reverb.md', 'sh'));
        self::assertCount(6, $blocks, 'a block that is new has a place in this test');
        $run = function (string $block) use ($app): string {
            $command = $this->sh($app, $block);
            self::assertSame(0, $command->exitCode(), "{$block}\n{$command->transcript}");

            return $command->transcript;
        };

        $run($blocks[0]);
        $installed = $run($blocks[1]);
        self::assertMatchesRegularExpression('/REVERB_APP_KEY \.+ the app\'s public key/', $installed);
        self::assertSame(str_replace('BROADCAST_CONNECTION=reverb', 'BROADCAST_CONNECTION=fanfare', $before), preg_replace('/\nFANFARE_BINARY=.*\n/', '', $app->read('.env')));
        $run($blocks[2]);

        // "now says that no server runs; it also names port and public URL": here nobody has the port.
        $doctor = $this->sh($app, 'php artisan fanfare:doctor --json');
        self::assertSame(1, $doctor->exitCode());
        $errors = array_filter(json_decode($doctor->transcript, true, flags: JSON_THROW_ON_ERROR)['findings'], static fn (array $finding): bool => $finding['severity'] === 'error');
        self::assertSame(['Server', 'Public URL'], array_column($errors, 'check'), $doctor->transcript);

        $server = $this->sh($app, 'exec php artisan fanfare:start');
        $server->line('serving');
        $checked = $run($blocks[3]);
        self::assertStringContainsString('Healthy.', $checked);
        self::assertStringContainsString('A broadcast with these credentials arrived', $checked);
        self::assertStringContainsString("A WebSocket client connects to http://localhost:{$port}", $checked);
        $run($blocks[4]);

        // A browser that knows Reverb's key and port, and an event of the application.
        $browser = new WebSocket("http://127.0.0.1:{$port}/app/reverbkeyreverbkey12?protocol=7");
        $browser->send('pusher:subscribe', ['channel' => 'orders']);
        $browser->await('pusher_internal:subscription_succeeded');
        self::assertSame(0, $this->sh($app, 'php artisan ship')->exitCode());
        self::assertSame('{"id":1}', $browser->await('Shipped')['data']);

        $run($blocks[5]);
        self::assertSame(['laravel/framework', 'fanfare/laravel'], array_keys(json_decode($app->read('composer.json'), true, flags: JSON_THROW_ON_ERROR)['require']));

        self::assertSame(0, $server->signal(SIGTERM)->exitCode());
    }

    private function sh(FreshApplication $app, string $command): RunningCommand
    {
        $environment = array_filter(
            getenv(),
            static fn (string $name): bool => preg_match('/^(FANFARE|BROADCAST|APP|REVERB|VITE)_/', $name) !== 1,
            ARRAY_FILTER_USE_KEY,
        );
        $uids = array_filter(array_map(static fn (string $user): ?int => posix_getpwnam($user)['uid'] ?? null, (FpmBinary::all((string) getenv('PATH'))[0] ?? null)?->users() ?? []));

        // Where the machine's php-fpm runs as somebody else, it is let in, as on a server that is set up for it.
        return new RunningCommand(['sh', '-ec', $command], $app->directory, $environment + [
            'FANFARE_SOCKET_UIDS' => implode(',', $uids), 'FANFARE_SOCKET_MODE' => '0666', 'FANFARE_SHARDS' => '1', 'NO_COLOR' => '1',
        ]);
    }
}
