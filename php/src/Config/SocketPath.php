<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * The Unix socket's path, which both the publisher and the server read.
 */
final readonly class SocketPath
{
    /** What `sockaddr_un` holds on Linux, without the closing NUL. */
    public const int BYTES_MAX = 107;

    public static function read(Section $fanfare): string
    {
        $path = $fanfare->text('socket', '', 'the path of a Unix socket', 'set FANFARE_SOCKET');

        if ($path !== '' && ! str_starts_with($path, '/')) {
            $fanfare->mistaken('socket', 'an absolute path', $path, 'PHP-FPM and the command line have different working directories');
        }

        if (strlen($path) > self::BYTES_MAX) {
            $fanfare->mistaken(
                'socket',
                'a path of at most '.self::BYTES_MAX.' bytes',
                $path,
                'that is '.strlen($path).' bytes: set FANFARE_SOCKET to a shorter one, such as /run/fanfare/fanfare.sock',
            );
        }

        return $path;
    }
}
