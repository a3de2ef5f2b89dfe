<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\BinaryNotFound;

/**
 * Finds the server's executable. A configured path is taken or refused, never passed over: whoever
 * names a binary does not want another one.
 */
final readonly class BinaryLocator
{
    private const string NAME = 'fanfare';

    /**
     * @param  string  $vendorBin  Composer's directory of executables
     * @param  string  $path  directories between colons, as in the environment's PATH
     */
    public function __construct(private string $vendorBin, private string $path) {}

    /**
     * @throws BinaryNotFound
     */
    public function locate(?string $configured): string
    {
        if ($configured !== null) {
            return match (true) {
                ! file_exists($configured) => throw BinaryNotFound::atConfiguredPath($configured, 'nothing there'),
                ! is_file($configured) => throw BinaryNotFound::atConfiguredPath($configured, 'something that is not a file'),
                ! is_executable($configured) => throw BinaryNotFound::atConfiguredPath($configured, 'a file that this user may not execute'),
                default => $configured,
            };
        }

        $places = [];

        foreach ([$this->vendorBin, ...explode(':', $this->path)] as $directory) {
            if ($directory === '') {
                continue;
            }

            $candidate = rtrim($directory, '/').'/'.self::NAME;

            if (is_file($candidate) && is_executable($candidate)) {
                return $candidate;
            }

            $places[] = $candidate;
        }

        throw BinaryNotFound::afterLookingAt($places);
    }
}
