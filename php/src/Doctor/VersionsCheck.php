<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether everything that is installed together has the same version.
 */
final readonly class VersionsCheck implements Check
{
    public function title(): string
    {
        return 'Versions';
    }

    public function findings(Subject $subject): iterable
    {
        $versions = $subject->versions();
        $found = array_filter([
            'binary' => $versions->binary,
            'running server' => $subject->running()?->version,
            'extension on the command line' => $versions->extension,
        ]);

        foreach ($subject->fpm() as $fpm) {
            if ($fpm->extension !== null) {
                $found["extension in {$fpm->path}"] = $fpm->extension;
            }
        }

        if ($found === []) {
            yield Finding::note('Nothing is there whose versions could differ.');
        } elseif (count(array_unique($found)) === 1) {
            yield Finding::good('All of version '.reset($found).': '.implode(', ', array_keys($found)).'.');
        } else {
            $list = implode(', ', array_map(static fn (string $part, string $version): string => "{$part} {$version}", array_keys($found), $found));

            yield Finding::error(
                "Of different versions: {$list}.",
                'Install extension and binary of the same version, then `php artisan fanfare:restart`, then restart PHP-FPM and queue workers.',
            );
        }
    }
}
