<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\ServerNotStarted;
use SensitiveParameter;

/**
 * The running server as a child of this process.
 *
 * Owns its start, the configuration's way into it (a pipe on its standard input, so that no secret
 * stands in an argument, a file or the environment), the signals passed on to it, and its exit code.
 * Its output is this process's own: nothing is copied and nothing can fill up. Where the binary is
 * and what its configuration says are left to others.
 */
final class ServerProcess
{
    /**
     * Exit code after SIGUSR1, by which `fanfare:restart` asks for another server. EX_TEMPFAIL: a supervisor
     * that leaves alone what ended well starts this again.
     */
    public const int RESTART = 75;

    /** Passed on to the server: the ones by which terminals and supervisors end or reload a program. */
    private const array SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1'];

    private const string TERMINAL = '/dev/tty';

    /** `si_code` of a signal that the kernel itself sent, as a terminal does to its whole foreground group. */
    private const int SENT_BY_KERNEL = 0x80;

    /** By prefix: what the server may know of this environment. Laravel puts all of .env into it. */
    private const array ENVIRONMENT = [
        'PATH', 'HOME', 'USER', 'LANG', 'LC_', 'TZ', 'TERM', 'NO_COLOR', 'RUST_', 'TMPDIR', 'XDG_RUNTIME_DIR',
        'SSL_CERT_', 'NOTIFY_SOCKET', 'WATCHDOG_', 'INVOCATION_ID', 'JOURNAL_STREAM',
    ];

    /** @var list<array{signo: int, code?: int}> */
    private array $early = [];

    private bool $isRestarting = false;

    private ?int $endedBy = null;

    /** Whether the end of the terminal is the end of this process: not with `nohup`, which takes it from our input. */
    private bool $followsTerminal = false;

    /**
     * @param  list<string>  $arguments  after the binary's own name
     */
    public function __construct(private readonly string $binary, private readonly array $arguments) {}

    /**
     * Runs the server until it ends. Returns its exit code, or 128 and the signal that ended it.
     *
     * @param  string  $configuration  what it reads from its standard input
     *
     * @throws ServerNotStarted
     */
    public function run(#[SensitiveParameter] string $configuration): int
    {
        // Handlers come before the child, so that no signal can end this process and leave the child;
        // they are reset by exec, so that the child starts with the defaults. Blocking them instead
        // would be inherited, and the server would never hear of them.
        $supervised = function_exists('pcntl_sigwaitinfo');

        if ($supervised) {
            $this->followsTerminal = stream_isatty(STDIN) && self::hasTerminal();
            $this->collectEarlySignals();
        }

        $process = $this->start($configuration);

        return $supervised ? $this->supervise($process) : $this->exitCode(proc_close($process));
    }

    /**
     * The signal that ended the server, if one did and that could be seen.
     */
    public function endedBy(): ?int
    {
        return $this->endedBy;
    }

    /**
     * @return resource
     */
    private function start(#[SensitiveParameter] string $configuration)
    {
        error_clear_last();

        $process = @proc_open(
            [$this->binary, ...$this->arguments],
            // Its output is inherited because it is not named: naming STDOUT would have PHP move the position of a
            // log file back to where this process last wrote, and what others have written since would be overwritten.
            [0 => ['pipe', 'r']],
            $pipes,
            null,
            self::environment(getenv()),
        );

        if ($process === false) {
            throw ServerNotStarted::from($this->binary, error_get_last()['message'] ?? 'no reason given');
        }

        // A server that ends before it has read all says why on its own output and in its exit code.
        @fwrite($pipes[0], $configuration);
        fclose($pipes[0]);

        return $process;
    }

    private function collectEarlySignals(): void
    {
        pcntl_async_signals(true);

        foreach (self::signals() as $signal) {
            pcntl_signal($signal, function (int $signal, mixed $from): void {
                $this->early[] = ['signo' => $signal] + (is_array($from) ? $from : []);
            });
        }
    }

    /**
     * @param  resource  $process
     */
    private function supervise($process): int
    {
        // From here on signals are taken one by one, so that none can slip in between a look and a wait.
        // A blocked SIGCHLD stays pending: the child's end is never missed, even if it was before this line.
        $awaited = [SIGCHLD, ...self::signals()];
        pcntl_sigprocmask(SIG_BLOCK, $awaited, $previous);
        pcntl_signal_dispatch();

        try {
            foreach ($this->early as $signal) {
                $this->passOn($process, $signal);
            }

            while (true) {
                $status = proc_get_status($process);

                if (! $status['running']) {
                    $this->endedBy = $status['signaled'] ? $status['termsig'] : null;

                    return $this->endedBy === null ? $this->exitCode($status['exitcode']) : 128 + $this->endedBy;
                }

                $info = [];
                $signal = pcntl_sigwaitinfo($awaited, $info);

                if ($signal !== false && $signal !== SIGCHLD && $signal > 0) {
                    $this->passOn($process, $info);
                }
            }
        } finally {
            pcntl_sigprocmask(SIG_SETMASK, $previous);

            foreach (self::signals() as $signal) {
                pcntl_signal($signal, SIG_DFL);
            }
        }
    }

    /**
     * @param  resource  $process
     * @param  array{signo: int, code?: int}  $signal
     */
    private function passOn($process, array $signal): void
    {
        $fromTerminal = ($signal['code'] ?? 0) === self::SENT_BY_KERNEL;

        // SIGHUP is two things: a wish to reload, and that the terminal is closed, which shells pass on. After
        // the latter nobody is left who could end what was started there, and the server leaves it to us.
        if ($signal['signo'] === SIGHUP && $this->followsTerminal && ($fromTerminal || ! self::hasTerminal())) {
            proc_terminate($process, SIGTERM);

            return;
        }

        $this->isRestarting = $this->isRestarting || $signal['signo'] === SIGUSR1;

        // Ctrl-C reaches the server without us; a second one would ask it to leave at once.
        if (! $fromTerminal) {
            proc_terminate($process, $signal['signo'] === SIGUSR1 ? SIGTERM : $signal['signo']);
        }
    }

    /**
     * The kernel lets nobody open it who has none.
     */
    private static function hasTerminal(): bool
    {
        $terminal = @fopen(self::TERMINAL, 'r');

        return $terminal !== false && fclose($terminal);
    }

    private function exitCode(int $code): int
    {
        if ($code === 0 && $this->isRestarting) {
            return self::RESTART;
        }

        // PHP says -1 when it cannot know.
        return $code < 0 ? 1 : $code;
    }

    /**
     * @return list<int>
     */
    private static function signals(): array
    {
        $signals = [];

        foreach (self::SIGNALS as $name) {
            $signal = constant($name);

            if (is_int($signal)) {
                $signals[] = $signal;
            }
        }

        return $signals;
    }

    /**
     * @param  array<string, string>  $environment
     * @return array<string, string>
     */
    private static function environment(array $environment): array
    {
        return array_filter($environment, static function (string $name): bool {
            foreach (self::ENVIRONMENT as $prefix) {
                if (str_starts_with($name, $prefix)) {
                    return true;
                }
            }

            return false;
        }, ARRAY_FILTER_USE_KEY);
    }
}
