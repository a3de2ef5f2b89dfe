<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningServer;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:start --watch` with the real server.
 */
final class WatchTest extends TestCase
{
    use OwnDirectory;

    public function test_a_change_of_env_starts_it_again_with_the_new_values(): void
    {
        $application = RunningServer::application($this->scratch);
        $watch = $application->artisan('fanfare:start', '--watch');
        $first = self::serving($watch);
        self::assertSame($this->socket, $first['socket']);

        $this->replace('fanfare.sock', 'other.sock');
        $watch->line('has changed: starting again');
        $second = self::serving($watch);

        self::assertSame($this->scratch->path('other.sock'), $second['socket']);
        self::assertNotSame($first['pid'], $second['pid']);

        self::assertSame(0, $watch->signal(SIGTERM)->exitCode(), $watch->transcript);
        self::assertFileDoesNotExist($this->scratch->path('other.sock'));
    }

    public function test_a_mistake_is_told_and_its_correction_is_waited_for(): void
    {
        $application = RunningServer::application($this->scratch, ['FANFARE_PORT' => 'http']);
        $watch = $application->artisan('fanfare:start', '--watch');
        $watch->line('fanfare.server.port: expected');
        $watch->line('ended with exit code 64');

        $this->replace('"http"', '"0"');
        self::serving($watch);

        self::assertSame(0, $watch->signal(SIGTERM)->exitCode());
    }

    public function test_restart_works_with_it_and_a_killed_server_is_not_started_in_a_loop(): void
    {
        $application = RunningServer::application($this->scratch);
        $watch = $application->artisan('fanfare:start', '--watch');
        self::serving($watch);

        $restart = $application->artisan('fanfare:restart');
        self::assertSame(0, $restart->exitCode(), $restart->transcript);
        $second = self::serving($watch);

        posix_kill($second['pid'], SIGKILL);
        $watch->line('ended with exit code 137');

        self::assertSame(0, $watch->signal(SIGINT)->exitCode());
    }

    public function test_ctrl_c_at_a_terminal_ends_both(): void
    {
        $watch = RunningServer::application($this->scratch)->run(['fanfare:start', '--watch'], terminal: true);
        $serving = self::serving($watch);
        $watch->write("\x03");

        self::assertSame(0, $watch->exitCode(), $watch->transcript);
        self::assertFalse(posix_kill($serving['pid'], 0));
    }

    public function test_it_is_refused_in_production(): void
    {
        $watch = RunningServer::application($this->scratch, ['APP_ENV' => 'production'])->artisan('fanfare:start', '--watch');

        self::assertSame(64, $watch->exitCode());
        self::assertStringContainsString('found APP_ENV=production', $watch->transcript);
    }

    private function replace(string $old, string $new): void
    {
        $env = $this->scratch->path('.env');
        file_put_contents($env, str_replace($old, $new, (string) file_get_contents($env)));
    }

    /**
     * @return array{pid: int, socket: string}
     */
    private static function serving(RunningCommand $command): array
    {
        return json_decode(strstr($command->line('"serving"'), '{'), true, flags: JSON_THROW_ON_ERROR)['fields'];
    }
}
