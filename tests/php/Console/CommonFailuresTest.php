<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * What all commands have in common when something is wrong. What one of them alone can meet is in its own test.
 */
final class CommonFailuresTest extends TestCase
{
    use OwnDirectory;

    #[DataProvider('commands')]
    public function test_a_socket_path_that_is_too_long_is_a_mistake_of_the_configuration(string $command): void
    {
        $failed = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => '/tmp/'.str_repeat('x', 103)])->artisan($command);

        self::assertSame(64, $failed->exitCode(), $failed->transcript);
        self::assertStringContainsString('fanfare.socket: expected a path of at most 107 bytes', $failed->transcript);
        self::assertStringContainsString('that is 108 bytes: set FANFARE_SOCKET to a shorter one', $failed->transcript);
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function commands(): iterable
    {
        foreach (['start', 'restart', 'stop', 'status', 'tail'] as $command) {
            yield $command => ["fanfare:{$command}"];
        }
    }

    #[DataProvider('commands')]
    public function test_where_nothing_has_been_set_up_the_installation_is_named(string $command): void
    {
        $failed = RunningServer::application($this->scratch, ['FANFARE_APP_ID' => '', 'FANFARE_APP_KEY' => '', 'FANFARE_APP_SECRET' => ''])->artisan($command);

        self::assertSame(64, $failed->exitCode(), $failed->transcript);
        self::assertStringContainsString('found none of them; run `php artisan fanfare:install`, which writes them', $failed->transcript);
        self::assertStringContainsString('has a mistake:', $failed->transcript);
        self::assertStringNotContainsString('Correct config/fanfare.php', $failed->transcript);
    }

    public function test_what_needs_no_extension_works_without_it(): void
    {
        $application = RunningServer::application($this->scratch);
        $server = $application->artisanWithoutExtension('fanfare:start');
        $server->line('"serving"');

        $tail = $application->artisanWithoutExtension('fanfare:tail', '--json');
        $doctor = $application->artisanWithoutExtension('fanfare:doctor', '--json');
        $doctor->exitCode();
        self::assertStringContainsString('A broadcast with these credentials arrived', $doctor->transcript);
        self::assertSame(0, $application->artisanWithoutExtension('fanfare:status', '--interval=0')->exitCode());

        $restart = $application->artisanWithoutExtension('fanfare:restart', '--wait=0');
        self::assertSame([0, 75], [$restart->exitCode(), $server->exitCode()], $restart->transcript);
        self::assertSame(0, $tail->exitCode(), $tail->transcript);

        $server = $application->artisanWithoutExtension('fanfare:start');
        $server->line('"serving"');
        self::assertSame([0, 0], [$application->artisanWithoutExtension('fanfare:stop')->exitCode(), $server->exitCode()]);
    }

    public function test_a_port_that_somebody_has_is_named_by_start(): void
    {
        $stranger = stream_socket_server('tcp://127.0.0.1:0');
        $address = (string) stream_socket_get_name($stranger, false);
        $start = RunningServer::application($this->scratch, ['FANFARE_PORT' => substr((string) strrchr($address, ':'), 1)])->artisan('fanfare:start');

        self::assertSame(1, $start->exitCode(), $start->transcript);
        self::assertStringContainsString($address, $start->transcript);
        self::assertStringContainsString('another process listens there', $start->transcript);
        self::assertFileDoesNotExist($this->socket);
    }

    public function test_a_directory_that_may_not_be_written_to_is_named_by_start(): void
    {
        mkdir($this->scratch->path('closed'), 0o500);
        $socket = $this->scratch->path('closed/fanfare.sock');
        $start = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => $socket])->run(['fanfare:start'], through: ScratchApplication::withoutPrivileges());

        self::assertSame(1, $start->exitCode(), $start->transcript);
        self::assertStringContainsString($socket, $start->transcript);
        self::assertStringContainsString('Permission denied', $start->transcript);
    }

    #[DataProvider('askers')]
    public function test_a_socket_that_this_user_may_not_open_is_told_with_the_remedy(string $command): void
    {
        $server = new RunningServer($this->scratch);
        chmod($this->socket, 0);
        $asking = $server->application->run([$command], through: ScratchApplication::withoutPrivileges());

        self::assertSame(1, $asking->exitCode(), $asking->transcript);
        $text = preg_replace('/\s+/', ' ', $asking->transcript);
        self::assertStringContainsString("may open the Unix socket {$this->socket}, found that its permissions", $text);
        self::assertStringContainsString('FANFARE_SOCKET_MODE', $text);

        $server->stop();
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function askers(): iterable
    {
        foreach (['status', 'tail', 'doctor'] as $command) {
            yield $command => ["fanfare:{$command}"];
        }
    }
}
