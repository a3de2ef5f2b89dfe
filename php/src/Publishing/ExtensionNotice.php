<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Psr\Log\LoggerInterface;

/**
 * Says once in each process that broadcasts go the slow way because the extension is not loaded.
 *
 * One object is made when the application boots and serves all that is cloned from it. Where a process
 * boots the application anew for every request, as under PHP-FPM, only a file lasts: it has the
 * ids and start times of the processes that have said it.
 */
final class ExtensionNotice
{
    /** Ids in the file. An old one that is pushed out costs a second warning. */
    private const int PROCESSES_MAX = 512;

    private bool $given = false;

    /**
     * @param  string  $file  one that a process may write; where it may not, the warning comes with each request
     */
    public function __construct(private readonly string $file) {}

    public function give(LoggerInterface $log): void
    {
        if ($this->given) {
            return;
        }

        $this->given = true;

        if ($this->isNewsFrom(self::process())) {
            $log->warning(
                'Fanfare broadcasts over HTTP, which is slower: expected the PHP extension "fanfare", but '
                .ExtensionMissing::howToGetFanfare()
                .' If it is left out on purpose, set FANFARE_TRANSPORT=http.',
            );
        }
    }

    private function isNewsFrom(string $process): bool
    {
        $known = explode("\n", (string) @file_get_contents($this->file));

        if (in_array($process, $known, true)) {
            return false;
        }

        $known = [...array_slice(array_filter($known), 1 - self::PROCESSES_MAX), $process];
        @file_put_contents($this->file, implode("\n", $known)."\n", LOCK_EX);

        return true;
    }

    /**
     * This process and no later one that happens to get its id, as every first process of a container does.
     */
    private static function process(): string
    {
        $stat = (string) @file_get_contents('/proc/self/stat');
        // The name in parentheses may hold spaces; the start is the twentieth word after it.
        $words = explode(' ', substr($stat, (int) strrpos($stat, ')') + 2));

        return (int) getmypid().'@'.($words[19] ?? '');
    }
}
