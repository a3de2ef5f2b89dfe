<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

use Fanfare\Laravel\Doctor\ExtensionRemedy;
use Fanfare\Laravel\Exceptions\BinaryNotFound;
use Fanfare\Laravel\Server\BinaryLocator;

/**
 * The two parts that Composer does not bring: the extension and the server's binary. Found where they
 * are, or where `make build` of a checkout leaves them.
 */
final readonly class Parts
{
    /** The package itself: a checkout when it is required by path, with Cargo's manifests beside it. */
    private string $package;

    public function __construct(private BinaryLocator $locator, ?string $package = null)
    {
        $this->package = $package ?? dirname(__DIR__, 3);
    }

    /**
     * The server's executable, and whether it is found without being configured.
     *
     * @return array{string|null, bool}
     */
    public function binary(?string $configured): array
    {
        try {
            return [$this->locator->locate($configured), true];
        } catch (BinaryNotFound) {
            $built = "{$this->package}/target/release/fanfare";

            return [is_executable($built) ? (string) realpath($built) : null, false];
        }
    }

    /**
     * Whether there is an extension that only has to be loaded.
     */
    public static function hasExtension(): bool
    {
        return ExtensionRemedy::file() !== null;
    }

    /**
     * What to do about the extension; null when this PHP has loaded it.
     */
    public function extensionRemedy(): ?string
    {
        $scanned = defined('PHP_CONFIG_FILE_SCAN_DIR') ? PHP_CONFIG_FILE_SCAN_DIR : '';

        return extension_loaded('fanfare')
            ? null
            : ExtensionRemedy::for('cli', PHP_VERSION, php_ini_loaded_file() ?: 'a php.ini', $scanned === '' ? '(none)' : $scanned)
            .' PHP-FPM has a configuration of its own: `php artisan fanfare:doctor` names it.';
    }

    /**
     * The command that builds both for this PHP; null when the package is no checkout.
     *
     * @return list<string>|null
     */
    public function build(): ?array
    {
        return (
            is_file("{$this->package}/Makefile") && is_file("{$this->package}/ext/Cargo.toml")
                ? ['make', '-C', (string) realpath($this->package), 'build']
                : null
        );
    }
}
