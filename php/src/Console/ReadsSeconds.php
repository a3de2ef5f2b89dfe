<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

/**
 * Options that are seconds, read before anything is done.
 */
trait ReadsSeconds
{
    private const int SECONDS_MAX = 86_400;

    /**
     * @param  list<string>  $mistakes  where one is noted
     */
    private function seconds(string $option, array &$mistakes): float
    {
        $value = $this->option($option);

        if (! is_numeric($value) || (float) $value < 0 || (float) $value > self::SECONDS_MAX) {
            $mistakes[] = "--{$option}: expected seconds from 0 to ".self::SECONDS_MAX.', found "'.(is_string($value) ? $value : '').'"';

            return 0;
        }

        return (float) $value;
    }
}
