<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether long-lived workers serve requests.
 */
final readonly class OctaneCheck implements Check
{
    public function title(): string
    {
        return 'Octane';
    }

    public function findings(Subject $subject): iterable
    {
        yield $subject->hasPackage('laravel/octane')
            ? Finding::note(
                'Laravel Octane is installed: its workers read the configuration once, and attach once for all their requests.',
                'After a change of configuration or an upgrade: `php artisan octane:reload`.',
            )
            : Finding::good('Laravel Octane is not installed: nothing to look after.');
    }
}
