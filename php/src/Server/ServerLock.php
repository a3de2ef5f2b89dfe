<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

/**
 * The lock beside the server's socket, which says which process serves there.
 *
 * Only looked at: taking the lock, even for a moment, would keep a server from starting. The kernel
 * lists who holds a lock in /proc/locks; a pid that merely stands in the file may be that of a server
 * that was killed, or by now of somebody else.
 */
final readonly class ServerLock
{
    public string $path;

    public function __construct(string $socket, private string $locks = '/proc/locks')
    {
        $this->path = "{$socket}.lock";
    }

    /**
     * The process that holds the lock; null when nobody does. 0: somebody does, but not in sight of this
     * process, as from another container.
     */
    public function holder(): ?int
    {
        clearstatcache(true, $this->path);
        $stat = @stat($this->path);

        if ($stat === false) {
            return null;
        }

        $device = sprintf('%02x:%02x', ($stat['dev'] >> 8) & 0xFFF, ($stat['dev'] & 0xFF) | (($stat['dev'] >> 12) & 0xFFF00));
        $written = (int) @file_get_contents($this->path);

        foreach (@file($this->locks) ?: [] as $line) {
            // 1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF
            if (preg_match('/^\d+:\s+FLOCK\s+\S+\s+WRITE\s+(-?\d+)\s+([0-9a-f]+:[0-9a-f]+):(\d+)\s/', $line, $matches) !== 1) {
                continue;
            }

            [, $pid, $on, $inode] = $matches;

            // Some file systems (btrfs, overlays) show another device here than to stat(2).
            if ((int) $inode === $stat['ino'] && ($on === $device || (int) $pid === $written)) {
                return max(0, (int) $pid);
            }
        }

        return null;
    }

    /**
     * Who started the server that held it last, or holds it.
     */
    public function owner(): ?User
    {
        $owner = @fileowner($this->path);

        return $owner === false ? null : new User($owner);
    }
}
