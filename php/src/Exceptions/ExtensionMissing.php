<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * A PHP extension is not loaded in the process that needs it.
 */
final class ExtensionMissing extends RuntimeException
{
    public static function inThisProcess(): self
    {
        return new self('Broadcasting through Fanfare needs the PHP extension "fanfare", but '.self::howToGetFanfare());
    }

    /**
     * What was found and what to do, as the second half of a sentence.
     */
    public static function howToGetFanfare(): string
    {
        $loaded = php_ini_loaded_file();
        $scanned = php_ini_scanned_files();

        return sprintf(
            'PHP %s (%s) has not loaded it. '
            .'Build or download fanfare.so for PHP %s, add "extension=fanfare" to the configuration of this SAPI '
            .'(it reads %s%s), and restart PHP; `php -m` must then list "fanfare".',
            PHP_VERSION,
            PHP_SAPI,
            PHP_MAJOR_VERSION.'.'.PHP_MINOR_VERSION.(PHP_ZTS ? ' ZTS' : ' NTS'),
            $loaded === false ? 'no php.ini' : $loaded,
            $scanned === false || trim($scanned) === '' ? '' : ' and files in '.dirname(trim(explode(',', $scanned)[0])),
        );
    }

    public static function curl(): self
    {
        return new self(
            'Speaking HTTP with a Fanfare server needs the PHP extension "curl", but PHP '
            .PHP_VERSION
            .' ('
            .PHP_SAPI
            .') has not '
            .'loaded it. Install it (on Debian: php-curl) and restart PHP.',
        );
    }

    public static function sodium(): self
    {
        return new self(
            'Encrypted channels need the PHP extension "sodium", but PHP '
            .PHP_VERSION
            .' ('
            .PHP_SAPI
            .') has not loaded it. '
            .'It comes with PHP; enable it and restart PHP.',
        );
    }
}
