<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

/**
 * An option that is seconds, read before anything is done.
 */
final readonly class Seconds
{
    private const int MAX = 86_400;

    /**
     * @param  string  $option  its name
     * @param  mixed  $value  what was given
     * @param  list<string>  $mistakes  where one is noted
     */
    public static function read(string $option, mixed $value, array &$mistakes): float
    {
        if (! is_numeric($value) || (float) $value < 0 || (float) $value > self::MAX) {
            $mistakes[] = "--{$option}: expected seconds from 0 to ".self::MAX.', found "'.(is_string($value) ? $value : '').'"';

            return 0.0;
        }

        return (float) $value;
    }
}
