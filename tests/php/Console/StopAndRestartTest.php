<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Server\Incumbent;
use Fanfare\Laravel\Server\ServerLock;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningServer;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:stop` and `fanfare:restart` with the real server.
 */
final class StopAndRestartTest extends TestCase
{
    use OwnDirectory;

    public function test_stop_ends_it_in_good_order_and_waits_until_it_has_left(): void
    {
        $server = new RunningServer($this->scratch);
        $stop = $server->application->artisan('fanfare:stop');

        self::assertSame(0, $stop->exitCode(), $stop->transcript);
        // It has waited: nothing is there any more when it ends.
        self::assertNull((new ServerLock($this->socket))->holder());
        self::assertStringContainsString("(process {$server->pid})", $stop->transcript);
        self::assertStringContainsString('It has left.', $stop->transcript);
        self::assertSame(0, $server->command->exitCode(), 'a supervisor takes it for a wanted end');
    }

    public function test_a_server_that_does_not_leave_is_told_and_ended_by_force(): void
    {
        $server = new RunningServer($this->scratch);
        posix_kill($server->pid, SIGSTOP);

        $stop = $server->application->artisan('fanfare:stop', '--timeout=1.5');
        self::assertSame(1, $stop->exitCode());
        self::assertStringContainsString('still leaving, 1 s', $stop->transcript);
        self::assertStringContainsString('to leave within 1.5 s, found that it is still there', $stop->transcript);

        posix_kill($server->pid, SIGCONT);
        self::assertSame(0, $server->command->exitCode());
    }

    public function test_restart_waits_until_another_one_serves(): void
    {
        $application = RunningServer::application($this->scratch);
        $supervisor = $application->supervised('fanfare:start');
        $first = self::pid($supervisor);

        $restart = $application->artisan('fanfare:restart');
        self::assertSame(0, $restart->exitCode(), $restart->transcript);

        $supervisor->line('ended with 75');
        $second = self::pid($supervisor);
        self::assertNotSame($first, $second);
        self::assertStringContainsString("Told the server (process {$first})", $restart->transcript);
        self::assertStringContainsString("Another one serves (process {$second})", $restart->transcript);

        self::assertSame(0, $application->artisan('fanfare:stop')->exitCode());
        self::assertSame(0, $supervisor->exitCode());
    }

    public function test_restart_says_when_nothing_starts_another_one(): void
    {
        $server = new RunningServer($this->scratch);
        $restart = $server->application->artisan('fanfare:restart', '--wait=1');

        self::assertSame(1, $restart->exitCode());
        self::assertStringContainsString('nothing has started another one within 1 s', $restart->transcript);
        self::assertSame(75, $server->command->exitCode());
    }

    public function test_a_server_that_was_started_without_php_is_told_directly(): void
    {
        $configuration = $this->scratch->file('fanfare.json', json_encode([
            'listen' => '127.0.0.1:0',
            'socket' => $this->socket,
            'apps' => [['id' => 'test', 'key' => 'test-key', 'secret' => 'test-secret-3f9a']],
        ], JSON_THROW_ON_ERROR));
        $server = new RunningCommand([ChatApplication::serverBinary(), 'serve', '--config', $configuration]);
        $server->line('serving');

        $restart = RunningServer::application($this->scratch)->artisan('fanfare:restart', '--wait=0');

        self::assertSame(0, $restart->exitCode(), $restart->transcript);
        self::assertSame(0, $server->exitCode());
    }

    #[DataProvider('commands')]
    public function test_nothing_that_runs_is_an_error_that_says_so(string $command): void
    {
        // What a killed server leaves behind names a process, which must not be signalled.
        $stranger = new RunningCommand(['sleep', '600']);
        $this->scratch->file('fanfare.sock.lock', "{$stranger->pid()}\n");

        $nothing = RunningServer::application($this->scratch)->artisan($command);

        self::assertSame(1, $nothing->exitCode());
        self::assertStringContainsString('found that none runs', $nothing->transcript);
        self::assertTrue(posix_kill($stranger->pid(), 0));
    }

    #[DataProvider('commands')]
    public function test_seconds_that_are_no_number_are_refused_before_the_server_is_told(string $command): void
    {
        $server = new RunningServer($this->scratch);

        foreach ($command === 'fanfare:stop' ? ['timeout'] : ['timeout', 'wait'] as $option) {
            $refused = $server->application->artisan($command, "--{$option}=x");

            self::assertSame(64, $refused->exitCode());
            self::assertStringContainsString("--{$option}: expected seconds from 0 to 86400, found \"x\"", $refused->transcript);
        }

        self::assertSame($server->pid, (new ServerLock($this->socket))->holder());
        // It is as it was, and no signal is on its way to it.
        self::assertSame(0, $server->application->artisan('fanfare:status', '--interval=0')->exitCode());

        $server->stop();
    }

    #[DataProvider('commands')]
    public function test_a_server_of_another_user_is_an_error_that_names_the_user(string $command): void
    {
        if (posix_geteuid() !== 0) {
            self::markTestSkipped('only root can become another user');
        }

        $server = new RunningServer($this->scratch);
        chmod($this->scratch->path(''), 0o755);

        // In a process of its own that has become another user: the same calls that the command makes.
        $method = $command === 'fanfare:stop' ? 'stop' : 'restart';
        $file = $this->scratch->file('ask.php', sprintf(
            '<?php require %s; posix_setuid(65534); try { Fanfare\Laravel\Server\Incumbent::of(%s)->%s(); echo "told\n"; }'
                .' catch (Fanfare\Laravel\Exceptions\NotStoppable $e) { echo $e->getMessage(), "\n"; }',
            var_export(dirname(__DIR__).'/bootstrap.php', true),
            var_export($this->socket, true),
            $method,
        ));
        $other = new RunningCommand([PHP_BINARY, $file]);
        $other->exitCode();

        self::assertStringContainsString('found that it belongs to the user root (0)', $other->transcript);
        self::assertStringContainsString('sudo -u root', $other->transcript);

        $server->stop();
    }

    #[DataProvider('commands')]
    public function test_mistakes_in_the_configuration_have_their_exit_code(string $command): void
    {
        $mistaken = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => 'relative'])->artisan($command);

        self::assertSame(64, $mistaken->exitCode());
        self::assertStringContainsString('expected an absolute path', $mistaken->transcript);
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function commands(): iterable
    {
        yield 'stop' => ['fanfare:stop'];
        yield 'restart' => ['fanfare:restart'];
    }

    public function test_a_server_in_another_container_is_out_of_sight(): void
    {
        $lock = $this->scratch->file('fanfare.sock.lock', "1\n");
        $locks = $this->scratch->file('locks', sprintf("1: POSIX  ADVISORY  READ 5 00:00:1 0 EOF\n2: FLOCK  ADVISORY  WRITE 0 %02x:%02x:%d 0 EOF\n", stat($lock)['dev'] >> 8, stat($lock)['dev'] & 0xFF, stat($lock)['ino']));

        self::assertSame(0, (new ServerLock($this->socket, $locks))->holder());
    }

    public function test_a_wait_looks_before_it_gives_up_and_tells_the_seconds(): void
    {
        self::assertTrue(Incumbent::await(static fn (): bool => true, 0.0, self::fail(...)));
        self::assertFalse(Incumbent::await(static fn (): bool => false, 0.0, self::fail(...)));
    }

    public function test_artisan_reload_and_artisan_dev_know_the_server(): void
    {
        $application = RunningServer::application($this->scratch);

        $list = $application->artisan('dev:list');
        self::assertSame(0, $list->exitCode(), $list->transcript);
        self::assertStringContainsString('php artisan fanfare:start --watch', $list->transcript);

        $supervisor = $application->supervised('fanfare:start');
        $first = self::pid($supervisor);
        $reload = $application->artisan('reload', '--except=queue,schedule');
        self::assertSame(0, $reload->exitCode());
        self::assertMatchesRegularExpression('/fanfare \.+ .*DONE/', $reload->transcript);
        self::assertNotSame($first, self::pid($supervisor));

        self::assertSame(0, $application->artisan('fanfare:stop')->exitCode());
        $supervisor->exitCode();

        $elsewhere = RunningServer::application($this->scratch, ['BROADCAST_CONNECTION' => 'log'])->artisan('dev:list');
        $elsewhere->exitCode();
        self::assertStringNotContainsString('fanfare', $elsewhere->transcript);
    }

    private static function pid(RunningCommand $command): int
    {
        return json_decode($command->line('"serving"'), true, flags: JSON_THROW_ON_ERROR)['fields']['pid'];
    }
}
