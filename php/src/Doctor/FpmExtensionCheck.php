<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether PHP-FPM has loaded the extension: it has a configuration of its own.
 */
final readonly class FpmExtensionCheck implements Check
{
    public function title(): string
    {
        return 'Extension (PHP-FPM)';
    }

    public function findings(Subject $subject): iterable
    {
        $fpm = $subject->fpm();

        if ($fpm === []) {
            yield Finding::note(
                'No php-fpm was found on this machine.',
                'If requests are served elsewhere (a container, another host), run fanfare:doctor there.',
            );
        }

        $others = array_filter($fpm, static fn (FpmBinary $found): bool => $found->isOfThisPhp()) !== [];

        foreach ($fpm as $found) {
            if ($found->extension !== null) {
                yield Finding::good("{$found->path} (PHP {$found->version}) loads fanfare {$found->extension}.");

                continue;
            }

            $message = "{$found->path} (PHP {$found->version}, {$found->ini}) does not load the extension \"fanfare\"";
            $remedy = ExtensionRemedy::for('fpm', $found->version, $found->ini, $found->scanned);

            // A machine may keep an older php-fpm that this application does not use.
            yield $found->isOfThisPhp() || ! $others
                ? ExtensionRemedy::finding($subject->waysOut(false), $message, 'requests', $remedy)
                : Finding::note("{$message}.", "If it serves this application: {$remedy}");
        }
    }
}
