<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Symfony\Component\Process\Exception\ExceptionInterface;
use Symfony\Component\Process\Process;

/**
 * That a PHP was told to load the extension and could not: its own words, and the ini file that told it.
 */
final readonly class ExtensionFault
{
    private const float TIMEOUT_S = 10;

    private const int WORDS_BYTES_MAX = 600;

    /**
     * @param  string|null  $ini  null: none of those that it read names the extension
     */
    private function __construct(public string $words, public ?string $ini) {}

    /**
     * @param  string  $said  what PHP wrote when it started
     * @param  list<string>  $inis  the files that it read
     */
    public static function of(string $said, array $inis): ?self
    {
        if (preg_match('/PHP Startup:\s+((?:(?!PHP Startup:).)*?fanfare(?:(?!PHP Startup:).)*?) in Unknown on line/s', $said, $matches) !== 1) {
            return null;
        }

        $words = substr(trim((string) preg_replace('/\s+/', ' ', $matches[1])), 0, self::WORDS_BYTES_MAX);

        foreach (array_filter($inis, is_file(...)) as $ini) {
            if (preg_match('/^\s*extension\s*=.*fanfare/m', (string) @file_get_contents($ini)) === 1) {
                return new self($words, $ini);
            }
        }

        return new self($words, null);
    }

    /**
     * Of the PHP on the command line, which is started once more to hear it.
     */
    public static function ofCommandLine(): ?self
    {
        try {
            $process = new Process([PHP_BINARY, '-d', 'display_startup_errors=1', '-d', 'display_errors=stderr', '-r', ''], timeout: self::TIMEOUT_S);
            $process->run();
        } catch (ExceptionInterface) {
            return null;
        }

        $inis = array_map(trim(...), explode(',', (string) php_ini_scanned_files()));

        return self::of("{$process->getOutput()}\n{$process->getErrorOutput()}", [...$inis, (string) php_ini_loaded_file()]);
    }

    /**
     * To go on with a sentence that says that it is not loaded.
     */
    public function clause(): string
    {
        return ($this->ini === null ? '' : ", though {$this->ini} names it").": {$this->words}";
    }
}
