<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

use RuntimeException;

/**
 * One file that would be written, and why. Nothing has happened until write() is called.
 */
final readonly class Change
{
    /**
     * @param  string|null  $before  null: there is no such file
     * @param  bool  $replaces  whether something that a person wrote would be lost
     */
    private function __construct(
        public string $path,
        public string $why,
        public ?string $before,
        public string $after,
        public bool $replaces,
    ) {}

    public static function adding(string $path, string $why, string $after): self
    {
        return new self($path, $why, self::content($path), $after, false);
    }

    public static function replacing(string $path, string $why, string $after): self
    {
        return new self($path, $why, self::content($path), $after, self::content($path) !== null);
    }

    public static function content(string $path): ?string
    {
        return is_file($path) ? (string) file_get_contents($path) : null;
    }

    /**
     * The same change of what another one leaves.
     */
    public function after(string $before): self
    {
        return new self($this->path, $this->why, $before, $this->after, $this->replaces);
    }

    public function isNeeded(): bool
    {
        return $this->before !== $this->after;
    }

    /**
     * All or nothing: a full disk leaves the old file. A link is followed, since deployments link .env.
     *
     * @throws RuntimeException
     */
    public function write(): void
    {
        $path = is_link($this->path) ? (string) realpath($this->path) : $this->path;
        $directory = dirname($path);

        if (! is_dir($directory) && ! @mkdir($directory, 0o755, true) && ! is_dir($directory)) {
            throw new RuntimeException("Expected to make the directory {$directory}, found that this user may not.");
        }

        // Laravel's handler of warnings leaves nothing to ask for afterwards.
        $reason = 'no reason given';
        set_error_handler(static function (int $level, string $words) use (&$reason): bool {
            $reason = $words;

            return true;
        });
        $partial = "{$path}.fanfare-".bin2hex(random_bytes(4));
        $mode = @fileperms($path);
        $written =
            file_put_contents($partial, $this->after) === strlen($this->after)
            && ($mode === false || chmod($partial, $mode & 0o7777))
            && rename($partial, $path);
        restore_error_handler();

        if (! $written) {
            @unlink($partial);

            throw new RuntimeException("Expected to write {$path}, found: {$reason}. Check who owns it and its directory.");
        }
    }
}
