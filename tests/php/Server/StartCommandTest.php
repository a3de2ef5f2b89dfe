<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Server;

use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\Scratch;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:start` with the real server.
 */
final class StartCommandTest extends TestCase
{
    private Scratch $scratch;

    private string $secret;

    protected function setUp(): void
    {
        $this->scratch = new Scratch;
        $this->secret = bin2hex(random_bytes(16));
    }

    protected function tearDown(): void
    {
        $this->scratch->remove();
    }

    public function test_it_serves_and_leaves_in_good_order_when_it_is_told_to(): void
    {
        foreach ([SIGTERM, SIGINT] as $signal) {
            $command = $this->start();
            $port = self::port($command);

            self::assertSame('{"health":"OK"}', file_get_contents("http://127.0.0.1:{$port}/up"));
            self::assertSame('socket', filetype($this->scratch->path('fanfare.sock')));

            self::assertSame(0, $command->signal($signal)->exitCode(), $command->transcript);
            self::assertFileDoesNotExist($this->scratch->path('fanfare.sock'));
        }
    }

    public function test_no_secret_is_in_any_process_list(): void
    {
        $command = $this->start();
        self::port($command);

        $seen = 0;

        foreach (glob('/proc/[0-9]*') ?: [] as $process) {
            $shown = @file_get_contents("{$process}/cmdline").@file_get_contents("{$process}/environ");
            $seen += str_contains($shown, "--config\0-") ? 1 : 0;

            self::assertStringNotContainsString($this->secret, $shown, $process);
        }

        self::assertGreaterThan(0, $seen, 'the server itself was among what was looked at');
        self::assertStringNotContainsString($this->secret, $command->transcript);

        $command->signal(SIGTERM)->exitCode();
        self::assertStringNotContainsString($this->secret, $command->transcript);
    }

    public function test_options_win_over_the_configuration(): void
    {
        $socket = $this->scratch->path('other.sock');
        $command = $this->start(['FANFARE_HOST' => '127.0.0.9', 'FANFARE_PORT' => '1', 'FANFARE_LOG_LEVEL' => 'warn'], [
            '--host=127.0.0.1', '--port=0', "--socket={$socket}", '--debug',
        ]);

        $serving = json_decode($command->line('"serving"'), true, flags: JSON_THROW_ON_ERROR);

        self::assertStringContainsString('127.0.0.1:', json_encode($serving));
        self::assertSame('socket', filetype($socket));
        self::assertSame(0, $command->signal(SIGTERM)->exitCode());
    }

    public function test_mistakes_in_laravels_configuration_are_told_all_at_once(): void
    {
        $command = $this->start(['FANFARE_APP_SECRET' => '', 'FANFARE_PORT' => 'http', 'FANFARE_SOCKET' => 'fanfare.sock']);

        self::assertSame(64, $command->exitCode());

        foreach (['fanfare.apps.0.secret: ', 'fanfare.server.port: ', 'fanfare.socket: '] as $mistake) {
            self::assertStringContainsString("\n  - {$mistake}expected ", $command->transcript);
        }
    }

    public function test_mistakes_that_only_the_server_knows_come_through_with_its_exit_code(): void
    {
        // Laravel has no opinion on the characters of a key; the server has.
        $command = $this->start(['FANFARE_APP_KEY' => 'a key']);

        self::assertSame(64, $command->exitCode());
        self::assertStringContainsString('apps[0].key', $command->transcript);
    }

    public function test_a_server_that_cannot_serve_says_why_with_its_exit_code(): void
    {
        $command = $this->start(['FANFARE_SOCKET' => $this->scratch->path('absent/fanfare.sock')]);

        self::assertSame(1, $command->exitCode());
        self::assertStringContainsString('cannot serve', $command->transcript);
        self::assertStringContainsString('absent/fanfare.sock', $command->transcript);
    }

    /**
     * @param  array<string, string>  $env
     */
    #[DataProvider('missingBinaries')]
    public function test_a_missing_binary_is_explained(array $env, string $words): void
    {
        $command = $this->start($env);

        self::assertSame(1, $command->exitCode());
        self::assertStringContainsString($words, $command->transcript);
    }

    /**
     * @return iterable<string, array{array<string, string>, string}>
     */
    public static function missingBinaries(): iterable
    {
        yield 'configured' => [['FANFARE_BINARY' => '/nonexistent/fanfare'], 'expected the server\'s executable at /nonexistent/fanfare, found nothing there'];
        yield 'looked for' => [['FANFARE_BINARY' => ''], 'Looked at:'];
    }

    public function test_a_server_that_is_killed_is_reported(): void
    {
        $command = $this->start();
        self::port($command);
        $server = (int) file_get_contents("/proc/{$command->pid()}/task/{$command->pid()}/children");

        posix_kill($server, SIGKILL);

        self::assertSame(128 + SIGKILL, $command->exitCode());
    }

    /**
     * @param  array<string, string>  $env
     * @param  list<string>  $options
     */
    private function start(array $env = [], array $options = []): RunningCommand
    {
        $application = new ScratchApplication($this->scratch, $env + [
            'FANFARE_APP_ID' => 'test',
            'FANFARE_APP_KEY' => 'test-key',
            'FANFARE_APP_SECRET' => $this->secret,
            'FANFARE_SOCKET' => $this->scratch->path('fanfare.sock'),
            'FANFARE_HOST' => '127.0.0.1',
            'FANFARE_PORT' => '0',
            'FANFARE_SHARDS' => '1',
            'FANFARE_LOG_FORMAT' => 'json',
            'FANFARE_BINARY' => ChatApplication::serverBinary(),
        ]);

        return $application->artisan('fanfare:start', ...$options);
    }

    private static function port(RunningCommand $command): int
    {
        $line = $command->line('"serving"');
        self::assertMatchesRegularExpression('/127\.0\.0\.1:(\d+)/', $line);
        preg_match('/127\.0\.0\.1:(\d+)/', $line, $matches);

        return (int) $matches[1];
    }
}
