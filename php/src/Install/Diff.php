<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * The difference of two texts, line by line, as people read it: `-` goes, `+` comes.
 */
final readonly class Diff
{
    /** Beyond this, comparing every line with every other one would take too long. */
    private const int LINES_MAX = 3_000;

    /**
     * @param  int  $context  unchanged lines around each change
     * @return list<string>
     */
    public static function lines(string $before, string $after, int $context = 2): array
    {
        $steps = self::steps(self::split($before), self::split($after));
        $shown = [];

        foreach ($steps as $at => [$mark]) {
            if ($mark !== ' ') {
                foreach (range(max(0, $at - $context), min(count($steps) - 1, $at + $context)) as $near) {
                    $shown[$near] = true;
                }
            }
        }

        $lines = [];
        $last = null;
        ksort($shown);

        foreach (array_keys($shown) as $at) {
            if ($last !== null && $at !== ($last + 1)) {
                $lines[] = '  …';
            }

            $lines[] = "{$steps[$at][0]} {$steps[$at][1]}";
            $last = $at;
        }

        return $lines;
    }

    /**
     * @return list<string>
     */
    private static function split(string $text): array
    {
        $lines = explode("\n", $text);

        if (end($lines) === '') {
            array_pop($lines);
        }

        return $lines;
    }

    /**
     * The longest common subsequence, walked from the front.
     *
     * @param  list<string>  $before
     * @param  list<string>  $after
     * @return list<array{' '|'-'|'+', string}>
     */
    private static function steps(array $before, array $after): array
    {
        [$n, $m] = [count($before), count($after)];

        if ($n > self::LINES_MAX || $m > self::LINES_MAX) {
            return [
                ...array_map(static fn (string $line): array => ['-', $line], $before),
                ...array_map(static fn (string $line): array => ['+', $line], $after),
            ];
        }

        $common = array_fill(0, $n + 1, array_fill(0, $m + 1, 0));

        for ($i = $n - 1; $i >= 0; $i--) {
            for ($j = $m - 1; $j >= 0; $j--) {
                $common[$i][$j] = $before[$i] === $after[$j] ? $common[$i + 1][$j + 1] + 1 : max($common[$i + 1][$j], $common[$i][$j + 1]);
            }
        }

        $steps = [];

        for ($i = $j = 0; $i < $n || $j < $m;) {
            if ($i < $n && $j < $m && $before[$i] === $after[$j]) {
                $steps[] = [' ', $before[$i]];
                $i++;
                $j++;
            } elseif ($i < $n && ($j === $m || $common[$i + 1][$j] >= $common[$i][$j + 1])) {
                $steps[] = ['-', $before[$i++]];
            } else {
                $steps[] = ['+', $after[$j++]];
            }
        }

        return $steps;
    }
}
