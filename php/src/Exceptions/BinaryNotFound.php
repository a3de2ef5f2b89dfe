<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The server's binary is not where it was said to be, or nowhere it is looked for.
 */
final class BinaryNotFound extends RuntimeException
{
    public static function atConfiguredPath(string $path, string $found): self
    {
        return new self(
            "fanfare.server.binary: expected the server's executable at {$path}, found {$found}. "
            .'Correct FANFARE_BINARY, or remove it to look in vendor/bin and on the PATH.',
        );
    }

    /**
     * @param  list<string>  $places
     */
    public static function afterLookingAt(array $places): self
    {
        return new self(
            "Expected the Fanfare server's executable \"fanfare\", found none. Looked at:\n  - "
            .implode("\n  - ", $places)
            ."\nInstall the binary in one of these places, or set FANFARE_BINARY to where it is.",
        );
    }
}
