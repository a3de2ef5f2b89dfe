<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * One thing that a check has found, and what to do about it.
 */
final readonly class Finding
{
    private function __construct(public Severity $severity, public string $message, public string $remedy) {}

    public static function good(string $message): self
    {
        return new self(Severity::Good, $message, '');
    }

    public static function note(string $message, string $remedy = ''): self
    {
        return new self(Severity::Note, $message, $remedy);
    }

    public static function warning(string $message, string $remedy): self
    {
        return new self(Severity::Warning, $message, $remedy);
    }

    public static function error(string $message, string $remedy): self
    {
        return new self(Severity::Error, $message, $remedy);
    }
}
