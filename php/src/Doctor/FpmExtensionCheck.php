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
            yield from $this->binary($subject, $found, $found->isOfThisPhp() || ! $others);
        }
    }

    /**
     * @param  bool  $isMeant  a machine may keep an older php-fpm that this application does not use
     * @return iterable<Finding>
     */
    private function binary(Subject $subject, FpmBinary $fpm, bool $isMeant): iterable
    {
        $loading = array_filter($fpm->pools, static fn (FpmPool $pool): bool => $pool->extension !== null);

        if ($fpm->extension !== null) {
            yield Finding::good("{$fpm->path} (PHP {$fpm->version}) loads fanfare {$fpm->extension}.");
        } else {
            yield from $this->pools($loading);

            if ($loading === [] || count($loading) < count($fpm->pools)) {
                yield $this->missing(
                    $subject,
                    $fpm,
                    $isMeant,
                    array_filter($fpm->pools, static fn (FpmPool $pool): bool => $pool->extension === null),
                );
            }
        }

        if ($isMeant && $fpm->endsWorkersAtOnce) {
            yield Finding::note(
                "{$fpm->path} has process_control_timeout = 0: a stop or a reload ends workers in the middle of requests, and they cannot say what a server that has gone left unread.",
                'Set process_control_timeout = 10s in the section [global] of php-fpm.conf.',
            );
        }
    }

    /**
     * Those that load the extension by themselves.
     *
     * @param  array<array-key, FpmPool>  $loading
     * @return iterable<Finding>
     */
    private function pools(array $loading): iterable
    {
        foreach ($loading as $pool) {
            yield is_file((string) $pool->extension)
                ? Finding::good(
                    "The pool {$pool->name} loads {$pool->extension} by php_admin_value[extension]. Its version is not seen from here: phpinfo() of a page says it.",
                )
                : Finding::error(
                    "The pool {$pool->name} is to load {$pool->extension} by php_admin_value[extension], which is not there.",
                    'Correct the path in the configuration of the pool, or install the extension there; then restart PHP-FPM.',
                );
        }
    }

    /**
     * @param  array<array-key, FpmPool>  $pools  that do not load it
     */
    private function missing(Subject $subject, FpmBinary $fpm, bool $isMeant, array $pools): Finding
    {
        $names = implode(', ', array_map(static fn (FpmPool $pool): string => $pool->name, $pools));
        $message =
            "{$fpm->path} (PHP {$fpm->version}, {$fpm->ini}) does not load the extension \"fanfare\"".match (true) {
                $pools === [] => '; what its pools load by php_admin_value is not seen, since their configuration could not be read',
                count($pools) < count($fpm->pools) => " in the pool {$names}",
                default => '',
            }
            .$fpm->fault?->clause();
        $remedy = ExtensionRemedy::for('fpm', $fpm->version, $fpm->ini, $fpm->scanned, $fpm->fault);

        if (! $isMeant) {
            return Finding::note("{$message}.", "If it serves this application: {$remedy}");
        }

        $finding = ExtensionRemedy::finding($subject->waysOut(false), $message, 'requests', $remedy);

        return $finding->severity === Severity::Error && ! FpmBinary::runs()
            ? Finding::warning("{$finding->message} No php-fpm runs at the moment.", "If it serves this application: {$finding->remedy}")
            : $finding;
    }
}
