<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Unavailable;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Contracts\Broadcasting\Broadcaster;
use Illuminate\Contracts\Broadcasting\Factory;
use PHPUnit\Framework\TestCase;

/**
 * The chain as it is configured: Laravel's driver, the extension loaded or not, and what listens.
 */
final class FallbackTest extends TestCase
{
    use OwnDirectory;

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
        $app = $this->booted(['fallback' => 'none']);
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

    /**
     * As docs/promises.md has it: order is kept on each way, and not between them.
     */
    public function test_what_waits_in_the_ring_of_a_server_that_is_gone_may_be_overtaken_by_what_goes_to_a_url(): void
    {
        $server = new TracedServer($this->socket);
        $api = new PretendApi;
        $driver = fn (string $fallback): Broadcaster => $this->driver(['fallback' => $fallback, 'url' => $api->url()]);
        $driver('none')->broadcast(['news'], 'first', []);
        $server->published('first');

        // It stands still while this is accepted, and never goes on.
        $server->signal(SIGSTOP);
        $driver('none')->broadcast(['news'], 'second', []);
        self::assertSame(128 + SIGKILL, $server->signal(SIGKILL)->exitCode());

        try {
            $driver('none')->broadcast(['news'], 'refused', []);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertMatchesRegularExpression('/[12] before this one wait in memory/', $e->getMessage());
        }

        $driver('url')->broadcast(['news'], 'third', []);
        self::assertSame('third', $api->request()['body']['name']);

        $successor = new TracedServer($this->socket);
        $driver('none')->broadcast(['news'], 'fourth', []);
        $successor->published('second');
        $successor->published('fourth');
        $successor->stop();
        self::assertStringNotContainsString('"third"', $successor->transcript());
        self::assertSame(1, $api->end());
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
            'fanfare.publish' => self::patient($publish),
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
        return $this->booted($publish)->make(Factory::class)->connection();
    }
}
