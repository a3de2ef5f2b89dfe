<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The PHP extension `fanfare` is not loaded in the process that broadcasts.
 */
final class ExtensionMissing extends RuntimeException
{
    public static function inThisProcess(): self
    {
        $loaded = php_ini_loaded_file();
        $scanned = php_ini_scanned_files();

        return new self(sprintf(
            'Broadcasting through Fanfare needs the PHP extension "fanfare", but PHP %s (%s) has not loaded it. '
            .'Build or download fanfare.so for PHP %s, add "extension=fanfare" to the configuration of this SAPI '
            .'(it reads %s%s), and restart PHP; `php -m` must then list "fanfare".',
            PHP_VERSION,
            PHP_SAPI,
            PHP_MAJOR_VERSION.'.'.PHP_MINOR_VERSION.(PHP_ZTS ? ' ZTS' : ' NTS'),
            $loaded === false ? 'no php.ini' : $loaded,
            $scanned === false || trim($scanned) === '' ? '' : ' and files in '.dirname(trim(explode(',', $scanned)[0])),
        ));
    }
}
