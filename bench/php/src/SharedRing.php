<?php

declare(strict_types=1);

namespace Fanfare\Bench;

use RuntimeException;

/**
 * The ring of this process, looked at from outside: what the server has read, and whether it sleeps.
 *
 * Owns no part of the ring: it reads the header through its descriptor, so that what is measured runs as it always
 * does. Assumes version 1 of the layout, which is drawn in wire/src/ring/layout.rs, and refuses any other.
 */
final class SharedRing
{
    private const string MAGIC = 'FANFRING';

    private const int VERSION = 1;

    private const int HEADER_BYTES = 512;

    private const int TAIL = 128;

    private const int HEAD = 256;

    private const int SLEEPING = 384;

    /** @param resource $memory */
    private function __construct(private $memory) {}

    /**
     * Finds the ring of this process among its descriptors. It has one from its first broadcast on.
     */
    public static function ofThisProcess(): self
    {
        foreach (scandir('/proc/self/fd') ?: [] as $fd) {
            // The directory's own descriptor is in the list, and gone by now.
            if (ctype_digit($fd) && str_starts_with((string) @readlink("/proc/self/fd/{$fd}"), '/memfd:fanfare-ring')) {
                return self::open((int) $fd);
            }
        }

        throw new RuntimeException('Expected a ring among the descriptors of this process, found none; broadcast first, with transport "ring".');
    }

    public function isServerAsleep(): bool
    {
        return ord($this->header()[self::SLEEPING]) === 1;
    }

    public function isDrained(): bool
    {
        $header = $this->header();

        return substr($header, self::HEAD, 8) === substr($header, self::TAIL, 8);
    }

    /** Waits until the server has given back all that was committed: it has read and delivered it. */
    public function waitUntilDrained(): void
    {
        $this->wait($this->isDrained(...), 'that the server reads what was committed');
    }

    /** Waits until the server has said that it sleeps: the next commit rings its doorbell. */
    public function waitUntilServerSleeps(): void
    {
        $this->wait($this->isServerAsleep(...), 'that the server falls asleep');
    }

    /** @param callable(): bool $condition */
    private function wait(callable $condition, string $what): void
    {
        $deadline = hrtime(true) + 10_000_000_000;

        while (! $condition()) {
            if (hrtime(true) > $deadline) {
                throw new RuntimeException("Expected {$what} within 10 s, found that it did not; see the server's log.");
            }
        }
    }

    private static function open(int $fd): self
    {
        // A duplicate: closing it leaves the extension's descriptor alone. (PHP cannot open a memfd by its /proc path.)
        $memory = fopen("php://fd/{$fd}", 'rb');

        if ($memory === false) {
            throw new RuntimeException("Expected to read the ring behind descriptor {$fd}, found that it cannot be duplicated.");
        }

        // Every look has to be at the memory itself.
        stream_set_read_buffer($memory, 0);
        $ring = new self($memory);
        $header = $ring->header();
        $version = unpack('V', $header, 8)[1] ?? null;

        if (! str_starts_with($header, self::MAGIC) || $version !== self::VERSION) {
            throw new RuntimeException(
                'Expected a ring of version '.self::VERSION.', found version '.json_encode($version).'; bring '.self::class.' in line with wire/src/ring/layout.rs.',
            );
        }

        return $ring;
    }

    private function header(): string
    {
        fseek($this->memory, 0);

        return (string) fread($this->memory, self::HEADER_BYTES);
    }
}
