<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\BinaryNotFound;
use Symfony\Component\Process\Exception\ExceptionInterface;
use Symfony\Component\Process\Process;

/**
 * The versions of the parts that are installed together: this PHP's extension, and the binary.
 */
final readonly class Versions
{
    private const float TIMEOUT_S = 10;

    /**
     * @param  string|null  $extension  null: this PHP has not loaded it
     * @param  string|null  $binary  null: it does not run, or does not say
     * @param  string|null  $binaryFault  why there is no version of the binary
     */
    private function __construct(
        public ?string $extension,
        public ?string $path,
        public ?string $binary,
        public ?string $binaryFault,
    ) {}

    public static function installed(BinaryLocator $locator, ?string $configured): self
    {
        $extension = phpversion('fanfare');
        $extension = $extension === false ? null : $extension;

        try {
            $path = $locator->locate($configured);
        } catch (BinaryNotFound $e) {
            return new self($extension, null, null, $e->getMessage());
        }

        try {
            $process = new Process([$path, '--version'], timeout: self::TIMEOUT_S);
            $process->run();
            $said = trim($process->getOutput());

            if (preg_match('/\Afanfare (\d\S*)\z/', $said, $matches) === 1) {
                return new self($extension, $path, $matches[1], null);
            }

            $found = $said === '' ? "exit code {$process->getExitCode()}: ".trim($process->getErrorOutput()) : "\"{$said}\"";
        } catch (ExceptionInterface $e) {
            $found = $e->getMessage();
        }

        return new self($extension, $path, null, "Expected {$path} --version to say \"fanfare\" and a version, found {$found}.");
    }
}
