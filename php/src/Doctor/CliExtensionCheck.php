<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether PHP on the command line, as queue workers use it, has loaded the extension.
 */
final readonly class CliExtensionCheck implements Check
{
    public function title(): string
    {
        return 'Extension (command line)';
    }

    public function findings(Subject $subject): iterable
    {
        $version = phpversion('fanfare');

        if ($version !== false) {
            yield Finding::good('PHP '.PHP_VERSION." on the command line has loaded fanfare {$version}.");

            return;
        }

        $scanned = defined('PHP_CONFIG_FILE_SCAN_DIR') ? PHP_CONFIG_FILE_SCAN_DIR : '';

        $fault = ExtensionFault::ofCommandLine();

        yield ExtensionRemedy::finding(
            $subject->waysOut(false),
            'PHP '.PHP_VERSION.' ('.PHP_BINARY.', '.(PHP_ZTS ? 'ZTS' : 'NTS').') has not loaded the extension "fanfare"'.$fault?->clause(),
            'queue workers and commands',
            ExtensionRemedy::for('cli', PHP_VERSION, php_ini_loaded_file() ?: 'a php.ini', $scanned === '' ? '(none)' : $scanned, $fault),
        );
    }
}
