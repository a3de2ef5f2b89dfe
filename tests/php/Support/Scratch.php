<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use FilesystemIterator;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/**
 * A directory of a test's own, with a path that is short enough for Unix sockets.
 */
final readonly class Scratch
{
    private string $directory;

    public function __construct()
    {
        $this->directory = sys_get_temp_dir().'/fanfare-test-'.bin2hex(random_bytes(6));
        mkdir($this->directory, 0o700);
    }

    public function path(string $name): string
    {
        return rtrim("{$this->directory}/{$name}", '/');
    }

    public function file(string $name, string $content, int $mode = 0o600): string
    {
        $path = $this->path($name);
        is_dir(dirname($path)) || mkdir(dirname($path), recursive: true);
        file_put_contents($path, $content);
        chmod($path, $mode);

        return $path;
    }

    public function remove(): void
    {
        $entries = new RecursiveIteratorIterator(
            new RecursiveDirectoryIterator($this->directory, FilesystemIterator::SKIP_DOTS),
            RecursiveIteratorIterator::CHILD_FIRST,
        );

        foreach ($entries as $entry) {
            $entry->isDir() && ! $entry->isLink() ? rmdir($entry->getPathname()) : unlink($entry->getPathname());
        }

        rmdir($this->directory);
    }
}
