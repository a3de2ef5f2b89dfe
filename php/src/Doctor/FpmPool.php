<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * A pool of PHP-FPM, as `php-fpm -tt` says its configuration.
 */
final readonly class FpmPool
{
    /**
     * @param  string  $user  as which it runs
     * @param  string|null  $extension  the file that it loads the extension from by `php_admin_value[extension]`
     */
    private function __construct(public string $name, public string $user, public ?string $extension) {}

    /**
     * @param  string  $configuration  without time and level before each line
     * @param  string  $directory  where an extension without a path is
     * @return list<self>
     */
    public static function all(string $configuration, string $directory): array
    {
        $pools = [];
        // Text before the first section, then the name and the lines of each.
        $parts = preg_split('/^\[([^]\n]+)\]\s*$/m', $configuration, flags: PREG_SPLIT_DELIM_CAPTURE) ?: [];

        for ($at = 1; isset($parts[$at + 1]); $at += 2) {
            if ($parts[$at] !== 'global' && preg_match('/^\s*user = (\S+)$/m', $parts[$at + 1], $user) === 1) {
                $pools[] = new self($parts[$at], $user[1], self::file($parts[$at + 1], $directory));
            }
        }

        return $pools;
    }

    private static function file(string $lines, string $directory): ?string
    {
        if (preg_match('~^\s*php_(?:admin_)?value\[extension\] = ((?:\S*/)?fanfare(?:\.so)?)$~m', $lines, $matches) !== 1) {
            return null;
        }

        $file = str_contains($matches[1], '/') ? $matches[1] : "{$directory}/{$matches[1]}";

        return str_ends_with($file, '.so') ? $file : "{$file}.so";
    }
}
