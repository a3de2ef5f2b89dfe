<?php

declare(strict_types=1);

namespace Fanfare\Bench;

/**
 * How long calls take, in nanoseconds.
 *
 * Owns what a figure means: of many observations the median, since a call that was interrupted says something
 * about the machine and nothing about the call. Nothing is subtracted: a burst includes its loop (some 10 ns per
 * call), a single call the clock and the closure around it (some 60 ns).
 */
final class Clock
{
    /**
     * Time per call of $calls calls without a pause, the median of $rounds rounds. What is to happen before each
     * round is not timed.
     *
     * @param  callable(int): void  $burst  makes that many calls
     * @param  callable(): void  $before
     */
    public static function perCallOfBurst(int $rounds, int $calls, callable $burst, callable $before): float
    {
        $observed = [];

        for ($round = 0; $round < $rounds; $round++) {
            $observed[] = self::burst($calls, $burst, $before);
        }

        return self::median($observed);
    }

    /**
     * Time per call of one round.
     *
     * @param  callable(int): void  $burst
     * @param  callable(): void  $before
     */
    public static function burst(int $calls, callable $burst, callable $before): float
    {
        $before();
        $start = hrtime(true);
        $burst($calls);

        return (hrtime(true) - $start) / $calls;
    }

    /**
     * Time of one call, the median of $calls calls, each made right after what is to happen before it.
     *
     * @param  callable(): void  $call
     * @param  callable(): void  $before
     */
    public static function perSingleCall(int $calls, callable $call, callable $before): float
    {
        $observed = [];

        for ($n = 0; $n < $calls; $n++) {
            $before();
            $start = hrtime(true);
            $call();
            $observed[] = hrtime(true) - $start;
        }

        return self::median($observed);
    }

    /** @param non-empty-list<int|float> $observed */
    public static function median(array $observed): float
    {
        sort($observed);
        $middle = intdiv(count($observed), 2);

        return count($observed) % 2 === 1
            ? (float) $observed[$middle]
            : ($observed[$middle - 1] + $observed[$middle]) / 2;
    }
}
