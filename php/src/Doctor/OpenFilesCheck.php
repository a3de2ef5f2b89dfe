<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * Whether as many connections as are configured can be open: each is a file to the system.
 */
final readonly class OpenFilesCheck implements Check
{
    /** Of a PHP process: its socket, memory, doorbell and pidfd. */
    private const int PER_ATTACHMENT = 4;

    private const int OTHERS = 300;

    private const int CONNECTIONS_MAX = 100_000;

    private const int ATTACHMENTS_MAX = 4_096;

    private const int HTTP_CONNECTIONS_MAX = 16_384;

    public function title(): string
    {
        return 'Open files';
    }

    public function findings(Subject $subject): iterable
    {
        $running = $subject->running();
        $configured = $subject->server()->limits ?? [];
        $connections = $running->limits['connections_max'] ?? $configured['connections_max'] ?? self::CONNECTIONS_MAX;
        $attachments = $running->limits['attachments_max'] ?? $configured['attachments_max'] ?? self::ATTACHMENTS_MAX;
        $http = $running->limits['http_connections_max'] ?? $configured['http_connections_max'] ?? self::HTTP_CONNECTIONS_MAX;
        $needed = $connections + $http + (self::PER_ATTACHMENT * $attachments) + self::OTHERS;

        if ($running?->openFilesMax !== null) {
            [$limit, $whose] = [$running->openFilesMax, 'The running server'];
        } else {
            $limits = function_exists('posix_getrlimit') ? posix_getrlimit() : false;
            $limit = $limits === false ? null : $limits['hard openfiles'];
            [$limit, $whose] = [$limit === 'unlimited' ? PHP_INT_MAX : $limit, 'A server started from this shell'];
        }

        if (! is_int($limit)) {
            yield Finding::note('The limit of open files is not known without ext-posix.');
        } elseif ($limit >= $needed) {
            yield Finding::good(
                "{$whose} may have {$this->number($limit)} open; {$this->number($connections)} connections and {$this->number(
     $attachments,
 )} PHP processes need {$this->number($needed)}.",
            );
        } else {
            yield Finding::warning(
                "{$whose} may have {$this->number($limit)} open, but {$this->number($connections)} connections (connections_max) and {$this->number(
     $attachments,
 )} PHP processes (attachments_max) need {$this->number($needed)}: clients beyond that wait or are turned away.",
                "Raise it (LimitNOFILE={$needed} in systemd, minfds of supervisor, ulimit -Hn), or set fanfare.server.limits.connections_max to what is meant.",
            );
        }
    }

    private function number(int $number): string
    {
        return $number === PHP_INT_MAX ? 'any number of files' : number_format($number);
    }
}
