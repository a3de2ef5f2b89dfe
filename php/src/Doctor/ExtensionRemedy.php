<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * What to do for a PHP that has not loaded the extension.
 */
final readonly class ExtensionRemedy
{
    /**
     * @param  string  $scanned  the directory whose ini files that PHP reads, or (none)
     */
    public static function for(string $sapi, string $version, string $ini, string $scanned): string
    {
        $minor = implode('.', array_slice(explode('.', $version), 0, 2));
        $file = self::file();
        $directory = trim(explode(':', $scanned)[0]);
        $where = str_starts_with($directory, '/') ? "a file fanfare.ini in {$directory}" : $ini;

        $get = match (true) {
            $file !== null => "{$file} is there.",
            default => "Install fanfare.so for PHP {$minor}: `pie install fanfare/fanfare`, or `make build` in a checkout (docs/extension.md).",
        };

        return "{$get} Put \"extension=".($file ?? 'fanfare')."\" into {$where}"
            .($sapi === 'fpm' ? ", and restart PHP-FPM (`systemctl restart php{$minor}-fpm`)." : '.');
    }

    /**
     * A fanfare.so for this PHP's minor version that only has to be loaded.
     */
    public static function file(): ?string
    {
        // The second is what `make build` leaves, where the package is a checkout.
        foreach ([ini_get('extension_dir').'/fanfare.so', dirname(__DIR__, 3).'/target/fanfare.so'] as $file) {
            if (is_file($file)) {
                return $file;
            }
        }

        return null;
    }
}
