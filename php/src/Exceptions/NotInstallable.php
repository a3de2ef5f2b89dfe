<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The application lacks what an installation starts from.
 */
final class NotInstallable extends RuntimeException
{
    public static function withoutEnv(string $path): self
    {
        return new self("Expected the file {$path}, found none. Make it first: `cp .env.example .env` and `php artisan key:generate`.");
    }

    /**
     * @param  list<string>  $missing
     */
    public static function withoutReverb(string $path, array $missing): self
    {
        return new self(
            'Expected Reverb\'s credentials in '.$path.', found no '.implode(', ', $missing).'. '.'Leave --from-reverb out to make new ones.',
        );
    }

    public static function withTwoRedis(string $path): self
    {
        return new self("--redis: expected no FANFARE_REDIS_URL in {$path}, found one. Remove it, or leave --redis out: a Redis is named by one of the two.");
    }
}
