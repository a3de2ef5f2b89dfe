<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\Scratch;
use Fanfare\Unavailable;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Contracts\Broadcasting\Broadcaster;
use Illuminate\Contracts\Broadcasting\Factory;
use Illuminate\Foundation\Application;
use PHPUnit\Framework\TestCase;

/**
 * The chain as it is configured: Laravel's driver, the extension loaded or not, and what listens.
 */
final class FallbackTest extends TestCase
{
    private Scratch $scratch;

    private string $socket;

    protected function setUp(): void
    {
        $this->scratch = new Scratch;
        $this->socket = $this->scratch->path('fanfare.sock');
    }

    protected function tearDown(): void
    {
        $this->scratch->remove();
    }

    public function test_where_nobody_is_at_the_socket_a_configured_url_takes_over(): void
    {
        $api = new PretendApi;

        $this->driver(['url' => $api->url()])->broadcast(['news'], 'E', ['n' => 1, 'socket' => '1.2']);

        self::assertSame(
            ['name' => 'E', 'data' => '{"n":1}', 'channel' => 'news', 'socket_id' => '1.2'],
            $api->request()['body'],
        );
    }

    public function test_a_connection_may_have_a_fallback_of_its_own(): void
    {
        $api = new PretendApi;
        $app = $this->app(['fallback' => 'none']);
        $app->make('config')->set('broadcasting.connections.far', [
            'driver' => 'fanfare',
            'publish' => ['transport' => 'http', 'fallback' => ['url'], 'url' => $api->url()],
        ]);

        $app->make(Factory::class)->connection('far')->broadcast(['news'], 'E', []);
        self::assertSame('E', $api->request()['body']['name']);

        $this->expectException(BroadcastException::class);
        $app->make(Factory::class)->connection('fanfare')->broadcast(['news'], 'E', []);
    }

    public function test_without_a_fallback_the_extensions_exception_stands_alone(): void
    {
        try {
            $this->driver(['fallback' => 'none'])->broadcast(['news'], 'E', []);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertInstanceOf(Unavailable::class, $e->getPrevious());
            self::assertStringNotContainsString('; then ', $e->getMessage());
        }
    }

    public function test_when_all_ways_fail_all_are_told_and_the_extensions_is_the_previous_exception(): void
    {
        try {
            $this->driver(['url' => 'http://127.0.0.1:1'])->broadcast(['news'], 'E', []);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertInstanceOf(Unavailable::class, $e->getPrevious());
            self::assertStringContainsString("; then expected an answer from a Fanfare server at the socket {$this->socket}", $e->getMessage());
            self::assertStringContainsString('; then expected an answer from a Fanfare server at http://127.0.0.1:1', $e->getMessage());
        }
    }

    public function test_transport_http_leaves_the_extension_out_and_misses_nothing(): void
    {
        $api = new PretendApi($this->socket);
        $broadcast = "\$boot()->make(Illuminate\\Contracts\\Broadcasting\\Factory::class)->connection()->broadcast(['news'], 'E', []);";

        $this->driver(['transport' => 'http'])->broadcast(['news'], 'E', []);
        $command = $this->withoutExtension(['transport' => 'http'], $broadcast);

        self::assertSame(0, $command->exitCode(), $command->transcript);
        self::assertSame(2, $api->end());
        self::assertFileDoesNotExist($this->scratch->path('laravel.log'));
    }

    public function test_without_the_extension_broadcasts_go_over_http_and_one_warning_says_how_to_get_it(): void
    {
        $api = new PretendApi($this->socket);

        // Two applications, as one PHP-FPM worker boots one for each request.
        $command = $this->withoutExtension(['fallback' => 'auto'], <<<'PHP'
            foreach (['one', 'two'] as $event) {
                $boot()->make(Illuminate\Contracts\Broadcasting\Factory::class)->connection()->broadcast(['news'], $event, []);
                $boot()->make(Illuminate\Contracts\Broadcasting\Factory::class)->connection()->broadcast(['news'], $event, []);
            }
            PHP);

        self::assertSame(0, $command->exitCode(), $command->transcript);
        self::assertSame(4, $api->end());

        $log = (string) file_get_contents($this->scratch->path('laravel.log'));
        self::assertSame(1, substr_count($log, 'Fanfare broadcasts over HTTP'), $log);
        self::assertStringContainsString('WARNING: Fanfare broadcasts over HTTP, which is slower: expected the PHP extension "fanfare"', $log);
        self::assertStringContainsString('add "extension=fanfare" to the configuration of this SAPI', $log);
        self::assertStringContainsString('FANFARE_TRANSPORT=http', $log);
    }

    public function test_another_process_warns_again(): void
    {
        $api = new PretendApi($this->socket);
        $broadcast = "\$boot()->make(Illuminate\\Contracts\\Broadcasting\\Factory::class)->connection()->broadcast(['news'], 'E', []);";

        self::assertSame(0, $this->withoutExtension([], $broadcast)->exitCode());
        self::assertSame(0, $this->withoutExtension([], $broadcast)->exitCode());

        self::assertSame(2, substr_count((string) file_get_contents($this->scratch->path('laravel.log')), 'Fanfare broadcasts over HTTP'));
        self::assertSame(2, $api->end());
    }

    public function test_without_the_extension_and_without_a_fallback_the_exception_says_how_to_get_it(): void
    {
        $command = $this->withoutExtension(['fallback' => 'none'], <<<'PHP'
            try {
                $boot()->make(Illuminate\Contracts\Broadcasting\Factory::class)->connection()->broadcast(['news'], 'E', []);
            } catch (Fanfare\Laravel\Exceptions\ExtensionMissing $e) {
                echo $e->getMessage(), "\n";
            }
            PHP);

        self::assertSame(0, $command->exitCode(), $command->transcript);
        self::assertStringContainsString((string) strstr(ExtensionMissing::inThisProcess()->getMessage(), ' but', true), $command->transcript);
    }

    /**
     * Runs a script in a PHP that has everything but the extension. `$boot()` gives an application.
     *
     * @param  array<string, mixed>  $publish
     */
    private function withoutExtension(array $publish, string $script): RunningCommand
    {
        $config = [
            'fanfare.socket' => $this->socket,
            'fanfare.publish' => $publish + ['connect_timeout_ms' => 10_000, 'http_timeout_ms' => 10_000],
            'logging.default' => 'single',
            'logging.channels.single' => ['driver' => 'single', 'path' => $this->scratch->path('laravel.log'), 'level' => 'debug'],
        ];
        $file = $this->scratch->file('script.php', sprintf(
            <<<'PHP'
            <?php
            require %s;
            extension_loaded('fanfare') && exit(99);
            $boot = static function () {
                $app = Fanfare\Laravel\Tests\Support\ChatApplication::boot(%s);
                $app->instance(Fanfare\Laravel\Publishing\ExtensionNotice::class, new Fanfare\Laravel\Publishing\ExtensionNotice(%s));
                return $app;
            };
            %s
            PHP,
            var_export(dirname(__DIR__).'/bootstrap.php', true),
            var_export($config, true),
            var_export($this->scratch->path('warned'), true),
            $script,
        ));

        return new RunningCommand([PHP_BINARY, $file], environment: ['PHP_INI_SCAN_DIR' => ''] + getenv());
    }

    /**
     * @param  array<string, mixed>  $publish
     */
    private function driver(array $publish): Broadcaster
    {
        return $this->app($publish)->make(Factory::class)->connection();
    }

    /**
     * @param  array<string, mixed>  $publish
     */
    private function app(array $publish): Application
    {
        return ChatApplication::boot([
            'fanfare.socket' => $this->socket,
            'fanfare.publish' => $publish + ['connect_timeout_ms' => 10_000, 'http_timeout_ms' => 10_000],
        ]);
    }
}
