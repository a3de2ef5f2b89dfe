<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Fanfare\Laravel\Config\AppCredentials;
use InvalidArgumentException;

/**
 * config/fanfare.php holds something that cannot be meant; the message lists every mistake.
 */
final class InvalidConfiguration extends InvalidArgumentException
{
    /**
     * @param  non-empty-list<string>  $mistakes  each one "path: expected …, found …"
     */
    private function __construct(string $message, public readonly array $mistakes)
    {
        parent::__construct($message);
    }

    /**
     * @param  non-empty-list<string>  $mistakes
     */
    public static function because(array $mistakes): self
    {
        $count = count($mistakes);
        $ofCommandLine = array_filter($mistakes, static fn (string $mistake): bool => str_starts_with($mistake, '--'));
        $cached = ' `php artisan config:clear` if the configuration is cached.';
        $remedy = match (true) {
            count($ofCommandLine) === $count => '',
            // Where nothing has been set up there is nothing to correct.
            $count === 1 && str_ends_with($mistakes[0], AppCredentials::INSTALL) => "\nThen, or if it has been done, run{$cached}",
            default => "\nCorrect config/fanfare.php or the environment, and run{$cached}",
        };

        return new self(
            sprintf("Fanfare's configuration has %s:", $count === 1 ? 'a mistake' : "{$count} mistakes")."\n  - ".implode("\n  - ", $mistakes).$remedy,
            $mistakes,
        );
    }
}
