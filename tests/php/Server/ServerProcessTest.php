<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Server;

use Fanfare\Laravel\Exceptions\ServerNotStarted;
use Fanfare\Laravel\Server\ServerProcess;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\Scratch;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * The supervision of a child, with a child that tells what reaches it.
 */
final class ServerProcessTest extends TestCase
{
    private const string SUPERVISE = __DIR__.'/fixtures/supervise.php';

    private const string LISTENER = __DIR__.'/fixtures/listener.php';

    public function test_the_configuration_arrives_whole_on_standard_input_however_large(): void
    {
        $configuration = random_bytes(1_000_000);
        $command = $this->listener($configuration);

        self::assertSame(md5($configuration), self::json($command->line('stdin'))['stdin']);

        self::assertSame(7, $command->signal(SIGTERM)->exitCode());
    }

    public function test_signals_are_passed_on_once_and_the_exit_code_comes_back(): void
    {
        $command = $this->listener();
        $command->line('stdin');
        $expected = [];

        foreach ([SIGINT, SIGHUP, SIGINT, SIGQUIT, SIGTERM] as $signal) {
            $expected[$signal] = ($expected[$signal] ?? 0) + 1;
            $command->signal($signal);

            self::assertSame($expected, self::json($command->line('signals'))['signals']);
        }

        self::assertSame(7, $command->exitCode());
    }

    /**
     * A file that was opened without O_APPEND, as by `> log`, has one position for all who write to it.
     */
    public function test_a_log_file_keeps_what_stood_in_it_before_the_child_was_started(): void
    {
        $scratch = new Scratch;
        $log = $scratch->path('log');
        // As a command says something before it starts the server.
        $supervise = $scratch->file('supervise.php', '<?php echo "before\n"; require '.var_export(self::SUPERVISE, true).';');
        $command = new RunningCommand(['sh', '-c', '"$@" >"$0" 2>&1', $log, PHP_BINARY, $supervise, 'sh', '-c', 'echo child']);
        $command->closeInput()->exitCode();

        self::assertSame("before\nchild\n", file_get_contents($log));
        $scratch->remove();
    }

    public function test_the_child_starts_with_no_signal_blocked(): void
    {
        $command = $this->listener();

        self::assertSame([], self::json($command->line('blocked'))['blocked']);

        $command->line('stdin');
        self::assertSame(7, $command->signal(SIGTERM)->exitCode());
    }

    public function test_ctrl_c_at_a_terminal_reaches_the_child_once(): void
    {
        $command = new RunningCommand([PHP_BINARY, self::SUPERVISE, PHP_BINARY, self::LISTENER], terminal: true);
        $command->write("\x04");
        $command->line('stdin');

        // While the parent is stopped its signals wait, so that the child has dealt with its own before
        // the parent could pass one on; pending signals are taken in the order of their numbers.
        $command->signal(SIGSTOP);
        while (preg_match('/^State:\s+T/m', (string) file_get_contents("/proc/{$command->pid()}/status")) !== 1);
        $command->write("\x03");
        self::assertSame([SIGINT => 1], self::json($command->line('signals'))['signals']);

        $command->signal(SIGTERM)->signal(SIGCONT);
        self::assertSame([SIGINT => 1, SIGTERM => 1], self::json($command->line('signals'))['signals']);
        self::assertSame(7, $command->exitCode());
    }

    public function test_a_closed_terminal_ends_the_child_but_sighup_on_an_open_one_is_passed_on(): void
    {
        $command = new RunningCommand([PHP_BINARY, self::SUPERVISE, PHP_BINARY, self::LISTENER], terminal: true);
        $command->write("\x04");
        $command->line('stdin');

        $command->signal(SIGHUP);
        self::assertSame([SIGHUP => 1], self::json($command->line('signals'))['signals']);

        // What SIGTERM makes of the child.
        self::assertSame(7, $command->hangUp());
    }

    public function test_nohup_keeps_the_child_when_the_terminal_is_closed(): void
    {
        $scratch = new Scratch;
        $log = $scratch->file('log', '');
        $command = new RunningCommand(
            ['sh', '-c', 'nohup "$@" >/dev/null 2>>"$0"; exit 3', $log, PHP_BINARY, self::SUPERVISE, PHP_BINARY, self::LISTENER],
            terminal: true,
        );
        self::told($log, '{"stdin"');
        $supervisor = self::childOf($command->pid());
        $child = self::childOf($supervisor);

        // The terminal's end is the shell's, whose end the kernel tells to all in the foreground.
        self::assertSame(128 + SIGHUP, $command->hangUp());

        // Of its pending signals the supervisor takes the one of the lower number first, which is SIGHUP.
        posix_kill($supervisor, SIGQUIT);
        self::assertSame([SIGHUP => 1, SIGQUIT => 1], self::json(self::told($log, '"'.SIGQUIT.'"'))['signals']);
        preg_match('/^ShdPnd:\s*([0-9a-f]+)$/m', (string) file_get_contents("/proc/{$child}/status"), $pending);
        self::assertSame(0, hexdec($pending[1]), 'nothing else was passed on');

        posix_kill($supervisor, SIGTERM);
        self::told($log, '"'.SIGTERM.'"');
        $scratch->remove();
    }

    public function test_a_child_that_a_signal_ends_is_reported_as_shells_do(): void
    {
        $command = $this->listener();
        $command->line('stdin');

        posix_kill(self::childOf($command->pid()), SIGKILL);

        self::assertSame(128 + SIGKILL, $command->exitCode());
    }

    public function test_a_child_that_reads_nothing_and_ends_is_reported_by_its_code(): void
    {
        $command = new RunningCommand([PHP_BINARY, self::SUPERVISE, '/bin/sh', '-c', 'exit 64']);
        $command->write(str_repeat('x', 1_000_000))->closeInput();

        self::assertSame(64, $command->exitCode());
        self::assertSame('', $command->transcript);
    }

    public function test_without_the_signal_functions_it_still_waits_and_reports(): void
    {
        $command = new RunningCommand([
            PHP_BINARY, '-d', 'disable_functions=pcntl_sigwaitinfo', self::SUPERVISE, '/bin/sh', '-c', 'cat; exit 9',
        ]);
        $command->write("configuration\n")->closeInput();
        $command->line('configuration');

        self::assertSame(9, $command->exitCode());
    }

    public function test_the_environment_of_the_child_holds_only_what_a_server_needs(): void
    {
        $command = new RunningCommand(
            [PHP_BINARY, self::SUPERVISE, '/usr/bin/env'],
            null,
            ['PATH' => '/usr/bin', 'FANFARE_APP_SECRET' => 'hidden', 'DB_PASSWORD' => 'hidden', 'RUST_BACKTRACE' => '1', 'LC_ALL' => 'C.UTF-8', 'LD_PRELOAD' => ''],
        );
        $command->closeInput();
        $command->exitCode();

        $lines = explode("\n", trim($command->transcript));
        sort($lines);

        self::assertSame(['LC_ALL=C.UTF-8', 'PATH=/usr/bin', 'RUST_BACKTRACE=1'], $lines);
    }

    #[DataProvider('unstartable')]
    public function test_what_cannot_be_started_is_said(string $binary, string $reason): void
    {
        $this->expectException(ServerNotStarted::class);
        $this->expectExceptionMessageMatches("#Expected {$binary} to start, found: .*{$reason}#");

        (new ServerProcess($binary, []))->run('{}');
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public static function unstartable(): iterable
    {
        yield 'nothing there' => ['/nonexistent/fanfare', 'No such file or directory'];
        yield 'a directory' => ['/usr', 'Permission denied'];
    }

    private function listener(string $configuration = '{}'): RunningCommand
    {
        $command = new RunningCommand([PHP_BINARY, self::SUPERVISE, PHP_BINARY, self::LISTENER]);

        return $command->write($configuration)->closeInput();
    }

    /**
     * The last line of a file that has the text, once there is one.
     */
    private static function told(string $file, string $text): string
    {
        for ($deadline = microtime(true) + 30; microtime(true) < $deadline; usleep(1_000)) {
            $lines = array_filter(explode("\n", (string) file_get_contents($file)), static fn (string $line): bool => str_contains($line, $text));

            if ($lines !== []) {
                return end($lines);
            }
        }

        self::fail("expected {$text} in the log, found:\n".file_get_contents($file));
    }

    private static function childOf(int $pid): int
    {
        return (int) file_get_contents("/proc/{$pid}/task/{$pid}/children");
    }

    /**
     * @return array<string, mixed>
     */
    private static function json(string $line): array
    {
        // A terminal shows what is typed: ^C stands before the line.
        return json_decode(strstr($line, '{'), true, flags: JSON_THROW_ON_ERROR);
    }
}
