<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Symfony\Component\Process\Exception\ExceptionInterface;
use Symfony\Component\Process\Process;

/**
 * Whether the server's binary is there, runs, and takes this configuration.
 */
final readonly class BinaryCheck implements Check
{
    public function title(): string
    {
        return 'Binary';
    }

    public function findings(Subject $subject): iterable
    {
        $versions = $subject->versions();

        if ($versions->path === null || $versions->binary === null) {
            yield Finding::error(
                (string) $versions->binaryFault,
                $versions->path === null
                    ? 'Run `php artisan fanfare:install`, which sets FANFARE_BINARY where a checkout has built it (--build builds it); or download the server (docs/extension.md, docs/commands.md), and set FANFARE_BINARY to where it is.'
                    : 'It is damaged, or built for another machine: install the one for '.php_uname('m').'.',
            );

            return;
        }

        yield Finding::good("{$versions->path} runs, version {$versions->binary}.");
        yield from $this->configuration($subject, $versions->path);
    }

    /**
     * @return iterable<Finding>
     */
    private function configuration(Subject $subject, string $binary): iterable
    {
        $server = $subject->server();

        if ($server === null) {
            return;
        }

        try {
            $process = new Process([$binary, 'check', '--config', '-'], input: $server->toJson(), timeout: 10);
            $process->run();
        } catch (ExceptionInterface $e) {
            yield Finding::error("The binary does not answer to `check`: {$e->getMessage()}", 'Install it again.');

            return;
        }

        yield $process->isSuccessful()
            ? Finding::good('It takes this configuration.')
            : Finding::error(
                'It refuses this configuration: '.trim($process->getErrorOutput()),
                'Correct config/fanfare.php or .env (id, key and secret of apps[0] are FANFARE_APP_ID, FANFARE_APP_KEY and FANFARE_APP_SECRET).',
            );
    }
}
