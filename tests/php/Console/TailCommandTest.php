<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Sidecar;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:tail` with the real server and extension.
 */
final class TailCommandTest extends TestCase
{
    use OwnDirectory;

    public function test_it_shows_what_passes_its_filter_until_the_server_leaves(): void
    {
        $server = new RunningServer($this->scratch);
        $tail = $server->application->artisan('fanfare:tail', '--channel=orders.*', '--app=test');
        $this->watched(1);

        $this->sidecar()->broadcast('news', 'Told', '{}');
        $this->sidecar()->broadcast(['orders.1', 'news'], 'App\\Events\\Shipped', "{\"id\":1,\"note\":\"\x1b[31m<error>\"}", '1.2');

        $line = $tail->line('Shipped');
        self::assertMatchesRegularExpression('/^\d\d:\d\d:\d\d\.\d{3}  test  orders\.1, news  App\\\\Events\\\\Shipped  \(\d+ B, not to 1\.2\)  \{"id":1/', $line);
        // A client's data does not steer the terminal, nor is it a style.
        self::assertStringContainsString('·[31m<error>', $line);

        $server->stop();
        self::assertSame(0, $tail->exitCode());
        self::assertStringContainsString('The server has left.', $tail->transcript);
        self::assertStringNotContainsString('Told', $tail->transcript);
    }

    public function test_json_is_one_object_a_line(): void
    {
        $server = new RunningServer($this->scratch);
        $tail = $server->application->artisan('fanfare:tail', '--json');
        $this->watched(1);
        $this->sidecar()->broadcast('orders', 'Shipped', '{"id":1}');

        $shipped = json_decode($tail->line('Shipped'), true, flags: JSON_THROW_ON_ERROR);
        self::assertSame([['orders'], '{"id":1}', 8, null, false], [$shipped['channels'], $shipped['data'], $shipped['bytes'], $shipped['except'], $shipped['cut']]);

        // Ctrl-C and a closed pipe end it; the server forgets it.
        $tail->signal(SIGINT)->exitCode();
        $this->watched(0);

        $server->stop();
    }

    public function test_a_server_that_is_not_there_and_an_app_that_it_does_not_have_are_told(): void
    {
        $application = RunningServer::application($this->scratch);
        $nobody = $application->artisan('fanfare:tail');
        self::assertSame(1, $nobody->exitCode());
        self::assertStringContainsString('Start it with `php artisan fanfare:start`', $nobody->transcript);

        $server = new RunningServer($this->scratch);
        $unknown = $application->artisan('fanfare:tail', '--app=nobody');
        self::assertSame(1, $unknown->exitCode());
        self::assertStringContainsString('expected the id of an app that this server has, but found "nobody"', $unknown->transcript);

        $server->stop();
    }

    /**
     * Waits until so many watch.
     */
    private function watched(int $tails): void
    {
        $inspector = new Inspector($this->socket, 30_000);
        Patience::until("that {$tails} watch", static fn (): bool => $inspector->status()->document['tails'] === $tails);
    }

    private function sidecar(): Sidecar
    {
        return new Sidecar($this->socket, RunningServer::KEY, 'test-secret-3f9a', ['connect_timeout_ms' => 10_000, 'exit_timeout_ms' => 10_000]);
    }
}
