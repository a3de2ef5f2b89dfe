<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Symfony\Component\Process\Exception\ExceptionInterface;
use Symfony\Component\Process\Process;

/**
 * A php-fpm of this machine, and what it says about itself.
 *
 * It is asked by its own binary, which reads the configuration that the service reads, pools included where this
 * user may read them. Variables of this shell that change what PHP loads are kept from it: the service does not
 * have them. What is not seen is a service that is started with another configuration file.
 */
final readonly class FpmBinary
{
    private const array PLACES = ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin'];

    private const float TIMEOUT_S = 10;

    /**
     * @param  string|null  $extension  the version of the one that all its pools load
     * @param  list<FpmPool>  $pools  none when they could not be read
     * @param  bool  $endsWorkersAtOnce  whether a stop or a reload does not let them finish
     * @param  ExtensionFault|null  $fault  why it could not load the extension, if it was told to
     */
    private function __construct(
        public string $path,
        public string $version,
        public ?string $extension,
        public string $ini,
        public string $scanned,
        public array $pools,
        public bool $endsWorkersAtOnce,
        public ?ExtensionFault $fault,
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

    /**
     * As which its pools run.
     *
     * @return list<string>
     */
    public function users(): array
    {
        return array_values(array_unique(array_diff(array_map(static fn (FpmPool $pool): string => $pool->user, $this->pools), ['undefined'])));
    }

    /**
     * Whether any php-fpm runs on this machine, or whether that cannot be seen.
     */
    public static function runs(): bool
    {
        // Where the processes of others are hidden, the first one is too.
        if (! is_readable('/proc/1/cmdline')) {
            return true;
        }

        foreach (glob('/proc/[0-9]*/cmdline') ?: [] as $file) {
            if (str_starts_with((string) @file_get_contents($file), 'php-fpm: master process')) {
                return true;
            }
        }

        return false;
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

        $parsed = preg_match('/^Additional \.ini files parsed => ((?:.*,\n)*.*)$/m', $info, $matches) === 1 ? explode(',', $matches[1]) : [];
        $configuration = (string) preg_replace('/^\[[^]]*\] NOTICE: /m', '', self::say($path, '-tt'));

        return new self(
            $path,
            $version,
            preg_match('/^fanfare\n\nFanfare => enabled\nVersion => (\S+)$/m', $info, $matches) === 1 ? $matches[1] : null,
            $value('Loaded Configuration File') ?? '(none)',
            $value('Scan this dir for additional .ini files') ?? '(none)',
            // "of this process => of the file"
            FpmPool::all($configuration, explode(' => ', $value('extension_dir') ?? '')[0]),
            preg_match('/^\s*process_control_timeout = 0s?$/m', $configuration) === 1,
            ExtensionFault::of($info, array_map(trim(...), [...$parsed, $value('Loaded Configuration File') ?? ''])),
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
