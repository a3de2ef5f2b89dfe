<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\NotStoppable;

/**
 * The server that holds a socket at the moment, whoever started it.
 *
 * It is found by the lock beside the socket, and told by a signal. Reverb is told through Laravel's
 * cache instead, which every server looks at every five seconds; the lock needs no store that server
 * and command share, reaches servers that were started without PHP, knows when it is done, and its
 * kernel knows who may. What the cache can do and this cannot is to reach other hosts.
 */
final readonly class Incumbent
{
    private const int POLL_US = 20_000;

    private function __construct(public int $pid, private ServerLock $lock) {}

    /**
     * @throws NotStoppable when there is none
     */
    public static function of(string $socket): self
    {
        $lock = new ServerLock($socket);

        return match ($pid = $lock->holder()) {
            null => throw NotStoppable::nothingRuns($socket),
            0 => throw NotStoppable::outOfSight($socket),
            default => new self($pid, $lock),
        };
    }

    /**
     * Tells it to leave in good order.
     *
     * @throws NotStoppable
     */
    public function stop(): void
    {
        $this->signal($this->pid, SIGTERM);
    }

    /**
     * Tells it to leave so that its supervisor starts another one. A server under `fanfare:start` is told
     * through that command, which ends with an exit code of its own: a supervisor that does not restart
     * what ended well restarts this.
     *
     * @throws NotStoppable
     */
    public function restart(): void
    {
        $parent = $this->starter();

        $this->signal($parent ?? $this->pid, $parent === null ? SIGTERM : SIGUSR1);
    }

    public function isGone(): bool
    {
        return $this->lock->holder() !== $this->pid;
    }

    /**
     * The process that has the socket now, if it is another one.
     */
    public function successor(): ?int
    {
        $pid = $this->lock->holder();

        return $pid === null || $pid === $this->pid ? null : $pid;
    }

    /**
     * Waits until something is so. False: not in time.
     *
     * @param  callable(): bool  $done
     * @param  callable(int): void  $eachSecond  is given the seconds that have passed
     */
    public static function await(callable $done, float $timeoutS, callable $eachSecond): bool
    {
        $began = hrtime(true);
        $told = 0;

        while (! $done()) {
            $passed = (hrtime(true) - $began) / 1e9;

            if ($passed >= $timeoutS) {
                return false;
            }

            if ((int) $passed > $told) {
                $told = (int) $passed;
                $eachSecond($told);
            }

            usleep(self::POLL_US);
        }

        return true;
    }

    /**
     * The `fanfare:start` that started it and waits for SIGUSR1; null when something else did.
     */
    private function starter(): ?int
    {
        // 1234 (name with any character) S 99 …
        $stat = (string) @file_get_contents("/proc/{$this->pid}/stat");
        $parent = (int) (explode(' ', ltrim((string) strrchr($stat, ')'), ') '))[1] ?? 0);
        $command = (string) @file_get_contents("/proc/{$parent}/cmdline");
        $status = (string) @file_get_contents("/proc/{$parent}/status");
        $caught = preg_match('/^SigCgt:\s*([0-9a-f]+)$/m', $status, $matches) === 1 ? hexdec(substr($matches[1], -8)) : 0;

        return $parent > 1 && str_contains($command, "\0fanfare:start\0") && ((int) $caught >> (SIGUSR1 - 1) & 1) === 1 ? $parent : null;
    }

    private function signal(int $pid, int $signal): void
    {
        if (! function_exists('posix_kill')) {
            throw NotStoppable::withoutPosix();
        }

        if (! posix_kill($pid, $signal)) {
            $error = posix_get_last_error();

            throw match ($error) {
                1 => NotStoppable::belongsTo($pid, User::current()->describe(), $this->lock->owner()?->describe(), $this->lock->owner()?->name()),
                default => NotStoppable::because($pid, posix_strerror($error)),
            };
        }
    }
}
