<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Rejected;
use Fanfare\Unavailable;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Contracts\Broadcasting\Broadcaster;
use Illuminate\Contracts\Broadcasting\Factory;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * Laravel's driver, the real extension and the real server, whose log at level trace has a line for
 * every publication.
 */
final class SidecarPublisherTest extends TestCase
{
    use OwnDirectory;

    /**
     * The extension judges before it looks for a server: what the server would drop never leaves PHP in silence.
     *
     * @param  array<array-key, mixed>  $payload
     */
    #[DataProvider('refused')]
    public function test_what_no_client_could_receive_is_laravels_exception(string $channel, string $event, array $payload, string $words): void
    {
        try {
            $this->driver([])->broadcast(['ok', $channel], $event, $payload);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertStringStartsWith("Broadcasting [{$event}] to 2 channel(s) failed: ", $e->getMessage());
            self::assertStringContainsString($words, $e->getMessage());
            self::assertInstanceOf(\ValueError::class, $e->getPrevious());
        }
    }

    /**
     * @return iterable<string, array{string, string, array<array-key, mixed>, string}>
     */
    public static function refused(): iterable
    {
        yield 'a space in a name' => ['not ok', 'E', [], '"not ok" given'];
        yield 'a line break after a name' => ["chat\n", 'E', [], '"chat\n" given'];
        yield 'an empty name' => ['', 'E', [], '"" given'];
        yield 'a long name' => [str_repeat('n', 201), 'E', [], '1 to 200 of'];
        yield 'an empty event' => ['c', '', [], 'an event name of 1 to 200 bytes'];
        yield 'a long event' => ['c', str_repeat('n', 201), [], 'an event name of 1 to 200 bytes, but found 201'];
    }

    /**
     * @param  'ring'|'socket'  $transport
     */
    #[DataProvider('transports')]
    public function test_what_laravel_broadcasts_is_what_the_server_publishes(string $transport): void
    {
        $server = new TracedServer($this->socket);
        $driver = $this->driver(['fanfare.publish.transport' => $transport]);

        $driver->broadcast(['chat', 'news'], 'App\\Events\\Said', ['text' => 'grüß Gott', 'socket' => null]);
        $driver->broadcast(['chat'], 'second', ['n' => 2, 'socket' => '12.34']);

        $first = json_decode($server->line('Said'), true, flags: JSON_THROW_ON_ERROR);
        $fields = ($first['fields'] ?? []) + $first;

        self::assertSame('test', $fields['app']);
        self::assertStringContainsString('chat', (string) json_encode($fields['channels']));
        self::assertStringContainsString('news', (string) json_encode($fields['channels']));
        self::assertSame('App\\Events\\Said', $fields['event']);
        self::assertSame('{"text":"gr\u00fc\u00df Gott"}', $fields['data']);

        $second = json_decode($server->line('second'), true, flags: JSON_THROW_ON_ERROR);
        self::assertSame('{"n":2}', (($second['fields'] ?? []) + $second)['data']);

        self::assertSame(0, $server->signal(SIGTERM)->exitCode());
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function transports(): iterable
    {
        yield 'ring' => ['ring'];
        yield 'socket' => ['socket'];
    }

    public function test_without_a_server_the_exception_is_laravels_with_fanfares_behind_it(): void
    {
        try {
            $this->driver()->broadcast(['chat'], 'E', ['socket' => '1.2']);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertInstanceOf(Unavailable::class, $e->getPrevious());
            self::assertStringContainsString($this->socket, $e->getMessage());
        }
    }

    public function test_a_wrong_secret_is_refused_as_such(): void
    {
        $server = new TracedServer($this->socket);

        try {
            $this->driver(['fanfare.apps.0.secret' => 'wrong-7d1c'])->broadcast(['chat'], 'E', ['socket' => '1.2']);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertInstanceOf(Rejected::class, $e->getPrevious());
            self::assertStringNotContainsString('wrong-7d1c', $e->getMessage());
        }

        self::assertSame(0, $server->signal(SIGTERM)->exitCode());
    }

    public function test_without_the_extension_the_exception_says_how_to_get_it(): void
    {
        // -n leaves out every ini file, and with them every extension that is not built in.
        $script = $this->scratch->file('broadcast.php', sprintf(
            "<?php require %s; (new Fanfare\\Laravel\\Publishing\\SidecarPublisher(Fanfare\\Laravel\\Config\\PublisherConfig::from(['socket' => '/s', 'apps' => [['id' => 1, 'key' => 2, 'secret' => 3]]])))->publish(['c'], 'E', '[]', null);",
            var_export(dirname(__DIR__).'/bootstrap.php', true),
        ));
        $command = new RunningCommand([PHP_BINARY, '-n', '-d', 'display_errors=stderr', $script]);

        self::assertSame(255, $command->exitCode());
        self::assertStringContainsString('ExtensionMissing: Broadcasting through Fanfare needs the PHP extension "fanfare"', $command->transcript);
        self::assertStringContainsString('extension=fanfare', $command->transcript);
        self::assertStringContainsString('no php.ini', $command->transcript);
    }

    /**
     * @param  array<string, mixed>  $config
     */
    private function driver(array $config = []): Broadcaster
    {
        return $this->booted([], $config)->make(Factory::class)->connection();
    }
}
