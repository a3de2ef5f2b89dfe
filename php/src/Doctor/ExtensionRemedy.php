<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Server\WaysOut;

/**
 * What to do for a PHP that has not loaded the extension.
 */
final readonly class ExtensionRemedy
{
    /**
     * @param  string  $scanned  the directory whose ini files that PHP reads, or (none)
     */
    public static function for(string $sapi, string $version, string $ini, string $scanned, ?ExtensionFault $fault = null): string
    {
        $minor = implode('.', array_slice(explode('.', $version), 0, 2));
        $file = self::file();
        $directory = trim(explode(':', $scanned)[0]);
        $where = str_starts_with($directory, '/') ? "a file fanfare.ini in {$directory}" : $ini;

        $get = match (true) {
            $file !== null => "{$file} is there.",
            default => "Install fanfare.so for PHP {$minor}: `pie install fanfare/fanfare`, or `make build` in a checkout (docs/extension.md).",
        };

        if ($fault !== null && $fault->ini !== null) {
            return (
                "Correct its line \"extension=\" in {$fault->ini}"
                .($file === null ? ", or install the file that it names: {$get}" : ": extension={$file}")
                .($sapi === 'fpm' ? "; then restart PHP-FPM (`systemctl restart php{$minor}-fpm`)." : '.')
            );
        }

        return (
            "{$get} Put \"extension="
            .($file ?? 'fanfare')
            ."\" into {$where}"
            .($sapi === 'fpm' ? ", and restart PHP-FPM (`systemctl restart php{$minor}-fpm`)." : '.')
        );
    }

    /**
     * How bad it is that the extension is not loaded depends on what else is configured.
     *
     * @param  WaysOut|null  $ways  null: the configuration has mistakes
     * @param  string  $fact  a sentence without its full stop
     * @param  string  $who  those who broadcast there
     */
    public static function finding(?WaysOut $ways, string $fact, string $who, string $remedy): Finding
    {
        return match (true) {
            $ways === null, $ways->isCutOff() => Finding::error("{$fact}: {$who} cannot broadcast.", $remedy),
            $ways->isDetour() => Finding::warning(
                "{$fact}: {$who} broadcast by {$ways->words()}, which is slower.",
                "{$remedy} If it is left out on purpose, set FANFARE_TRANSPORT=http.",
            ),
            default => Finding::note("{$fact}, and FANFARE_TRANSPORT=http does not want it."),
        };
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
