<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Closure;
use Fanfare\Laravel\Exceptions\ServerNotStarted;

/**
 * A command that is run anew whenever files change: `fanfare:start --watch`.
 *
 * The command is another process, because a Laravel that has booted cannot read its configuration
 * again. It gets the environment that this process was started with: Laravel has put all of .env into
 * its own since, and what is in the environment wins over the changed file. For development: two
 * looks at the files a second, and a restart that closes every connection.
 */
final class Watch
{
    /** `si_code` of a signal that a terminal sent to the whole foreground group, the command included. */
    private const int SENT_BY_KERNEL = 0x80;

    private const int LOOK_NS = 500_000_000;

    /** @var resource|null */
    private $child = null;

    private bool $isStopping = false;

    private bool $isRestarting = false;

    /**
     * @param  list<string>  $command
     * @param  Closure(): list<string>  $files  what is watched; it may become more
     * @param  Closure(string): void  $say
     */
    public function __construct(private readonly array $command, private readonly Closure $files, private readonly Closure $say) {}

    /**
     * This command without the option that has it watch.
     *
     * @return list<string>
     */
    public static function ownCommandWithout(string $option): array
    {
        $own = explode("\0", rtrim((string) file_get_contents('/proc/self/cmdline'), "\0"));

        return [PHP_BINARY, ...array_values(array_filter(array_slice($own, 1), static fn (string $argument): bool => $argument !== $option))];
    }

    /**
     * Runs until it is told to stop. Returns the command's exit code.
     *
     * @throws ServerNotStarted
     */
    public function run(): int
    {
        $signals = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1];
        pcntl_sigprocmask(SIG_BLOCK, [SIGCHLD, ...$signals], $previous);

        try {
            return $this->watch([SIGCHLD, ...$signals]);
        } finally {
            pcntl_sigprocmask(SIG_SETMASK, $previous);
        }
    }

    /**
     * @param  list<int>  $signals
     */
    private function watch(array $signals): int
    {
        $seen = $this->fingerprint();
        $settling = $seen;
        $this->start();

        while (true) {
            $info = [];
            $signal = pcntl_sigtimedwait($signals, $info, 0, self::LOOK_NS);

            if ($signal > 0 && $signal !== SIGCHLD) {
                $this->passOn($info);
            }

            $code = $this->exitCode();

            if ($code !== null) {
                if ($this->isStopping) {
                    return $code;
                }

                $this->child = null;

                if ($this->isRestarting || $code === ServerProcess::RESTART) {
                    $this->start();
                } else {
                    ($this->say)("It ended with exit code {$code}, and starts again when .env or config/ changes.");
                }
            }

            if ($this->isStopping && $this->child === null) {
                return $code ?? 0;
            }

            // A file that is being written has another print at every look: it is taken when it rests.
            $now = $this->fingerprint();

            if ($now !== $seen && $now === $settling) {
                $seen = $now;
                $this->renew();
            }

            $settling = $now;
        }
    }

    private function renew(): void
    {
        ($this->say)('.env or config/ has changed: starting again.');

        if ($this->child === null) {
            $this->start();
        } else {
            $this->isRestarting = true;
            proc_terminate($this->child, SIGTERM);
        }
    }

    private function start(): void
    {
        $this->isRestarting = false;
        error_clear_last();
        // A blocked signal would stay blocked in the child.
        pcntl_sigprocmask(SIG_SETMASK, [], $blocked);
        $pipes = [];
        // Input and output are inherited because they are not named (ServerProcess::start()).
        $child = @proc_open($this->command, [], $pipes, null, self::environment());
        pcntl_sigprocmask(SIG_SETMASK, $blocked);

        if ($child === false) {
            throw ServerNotStarted::from($this->command[0], error_get_last()['message'] ?? 'no reason given');
        }

        $this->child = $child;
    }

    /**
     * @param  array<array-key, mixed>  $info  what pcntl_sigtimedwait() says
     */
    private function passOn(array $info): void
    {
        $signal = is_int($info['signo'] ?? null) ? $info['signo'] : SIGTERM;

        $fromTerminal = ($info['code'] ?? 0) === self::SENT_BY_KERNEL;

        // SIGHUP ends us when the terminal is closed; sent by somebody, it asks for what was renewed.
        if ($signal !== SIGUSR1 && ($signal !== SIGHUP || $fromTerminal)) {
            $this->isStopping = true;
        }

        if ($this->child !== null && ! $fromTerminal) {
            proc_terminate($this->child, $signal);
        }
    }

    private function exitCode(): ?int
    {
        if ($this->child === null) {
            return null;
        }

        $status = proc_get_status($this->child);

        return match (true) {
            $status['running'] => null,
            $status['signaled'] => 128 + $status['termsig'],
            default => max(0, $status['exitcode']),
        };
    }

    private function fingerprint(): string
    {
        clearstatcache();

        return md5(implode("\n", array_map(static function (string $file): string {
            $stat = @stat($file);

            // The content too: a clock of whole seconds misses the second of two quick changes.
            return $stat === false ? "{$file} -" : "{$file} {$stat['mtime']} {$stat['size']} {$stat['ino']} ".md5_file($file);
        }, ($this->files)())));
    }

    /**
     * @return array<string, string>
     */
    private static function environment(): array
    {
        $environment = [];

        foreach (explode("\0", (string) file_get_contents('/proc/self/environ')) as $entry) {
            if (str_contains($entry, '=')) {
                [$name, $value] = explode('=', $entry, 2);
                $environment[$name] = $value;
            }
        }

        return $environment;
    }
}
