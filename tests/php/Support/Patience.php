<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * Waits for what nobody announces. The deadline only turns a hang into a failure.
 */
final class Patience
{
    private const int DEADLINE_NS = 60_000_000_000;

    /**
     * @param  callable(): bool  $isSo
     */
    public static function until(string $what, callable $isSo): void
    {
        $deadline = hrtime(true) + self::DEADLINE_NS;

        while (! $isSo()) {
            if (hrtime(true) > $deadline) {
                throw new RuntimeException("expected {$what}, gave up waiting");
            }

            usleep(2_000);
        }
    }
}
