<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\AppCredentials;

/**
 * config/fanfare.php and the variables behind it: every mistake, and whether a cached copy is stale.
 */
final readonly class ConfigurationCheck implements Check
{
    public function title(): string
    {
        return 'Configuration';
    }

    public function findings(Subject $subject): iterable
    {
        $mistakes = $subject->mistakes();

        foreach ($mistakes as $mistake) {
            yield Finding::error(
                $mistake,
                (str_ends_with($mistake, AppCredentials::INSTALL) ? 'Run `php artisan fanfare:install`' : 'Correct config/fanfare.php or .env')
                .'; then `php artisan config:clear` if the configuration is cached.',
            );
        }

        if ($mistakes === []) {
            yield Finding::good('No mistakes in config/fanfare.php and its variables.');
        }

        yield from $this->cached($subject);
    }

    /**
     * @return iterable<Finding>
     */
    private function cached(Subject $subject): iterable
    {
        if ($subject->configurationCache === null) {
            return;
        }

        clearstatcache();
        $cachedAt = (int) @filemtime($subject->configurationCache);
        $newer = array_filter($subject->configurationSources, static fn (string $file): bool => (int) @filemtime($file) > $cachedAt);

        yield $newer === []
            ? Finding::note(
                "The configuration is cached ({$subject->configurationCache}), and no source is newer.",
                'After a change of .env or config/: `php artisan config:cache`.',
            )
            : Finding::warning(
                'The configuration is cached, and these are newer than the cache: '.implode(', ', $newer).'. What they say now is not in force.',
                'Run `php artisan config:cache` (or config:clear), then `php artisan fanfare:restart`, and reload PHP-FPM and queue workers.',
            );
    }
}
