<?php

declare(strict_types=1);

namespace Fanfare\Bench;

/**
 * How often the threads of the server went to sleep of their own accord, as the kernel counts it: the proof that
 * a call which is said to have woken the server did.
 */
final class Sleeps
{
    public static function of(int $pid): int
    {
        $sleeps = 0;

        foreach (glob("/proc/{$pid}/task/*/status") ?: [] as $file) {
            if (preg_match('/^voluntary_ctxt_switches:\s+(\d+)/m', (string) file_get_contents($file), $matches) === 1) {
                $sleeps += (int) $matches[1];
            }
        }

        return $sleeps;
    }
}
