<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Symfony\Component\Process\Exception\ExceptionInterface;
use Symfony\Component\Process\Process;

/**
 * A php-fpm of this machine, and what it says about itself.
 *
 * It is asked by its own binary, which reads the configuration that the service reads; a pool's
 * `php_admin_value` is not seen. Variables of this shell that change what PHP loads are kept from it:
 * the service does not have them.
 */
final readonly class FpmBinary
{
    private const array PLACES = ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin'];

    private const float TIMEOUT_S = 10;

    /**
     * @param  list<string>  $users  of its pools
     */
    private function __construct(
        public string $path,
        public string $version,
        public ?string $extension,
        public string $ini,
        public string $scanned,
        public array $users,
    ) {}

    /**
     * @return list<self>
     */
    public static function all(string $path): array
    {
        $found = self::in(explode(':', $path));

        // Services live in directories that users' PATHs often leave out.
        if ($found === []) {
            $found = self::in([...self::PLACES, PHP_BINDIR, dirname(PHP_BINDIR).'/sbin']);
        }

        return array_values(array_filter(array_map(self::ask(...), $found)));
    }

    /**
     * @param  list<string>  $directories
     * @return list<string>
     */
    private static function in(array $directories): array
    {
        $found = [];

        foreach ($directories as $directory) {
            foreach (glob("{$directory}/php*fpm*") ?: [] as $file) {
                if (preg_match('#/php-fpm(\d+(\.\d+)?)?\z|/php\d+(\.\d+)?-fpm\z#', $file) === 1 && is_file($file) && is_executable($file)) {
                    $found[(string) realpath($file)] = true;
                }
            }
        }

        return array_map('strval', array_keys($found));
    }

    public function isOfThisPhp(): bool
    {
        return str_starts_with($this->version, PHP_MAJOR_VERSION.'.'.PHP_MINOR_VERSION.'.');
    }

    private static function ask(string $path): ?self
    {
        $info = self::say($path, '-i');
        $value = static fn (string $name): ?string => preg_match('/^'.preg_quote($name, '/').' => (.*)$/m', $info, $matches) === 1 ? trim($matches[1]) : null;
        $version = $value('PHP Version');

        if ($version === null) {
            return null;
        }

        preg_match_all('/^\s*(?:\[[^]]*\] NOTICE:)?\s*user = (\S+)$/m', self::say($path, '-tt'), $users);

        return new self(
            $path,
            $version,
            preg_match('/^fanfare\n\nFanfare => enabled\nVersion => (\S+)$/m', $info, $matches) === 1 ? $matches[1] : null,
            $value('Loaded Configuration File') ?? '(none)',
            $value('Scan this dir for additional .ini files') ?? '(none)',
            array_values(array_unique(array_diff($users[1], ['undefined']))),
        );
    }

    private static function say(string $path, string $option): string
    {
        try {
            $process = new Process([$path, $option], env: ['PHP_INI_SCAN_DIR' => false, 'PHPRC' => false], timeout: self::TIMEOUT_S);
            $process->run();

            return $process->getOutput()."\n".$process->getErrorOutput();
        } catch (ExceptionInterface) {
            return '';
        }
    }
}
