<?php

declare(strict_types=1);

namespace Fanfare\Bench;

use Fanfare\Sidecar;
use RuntimeException;

/**
 * What the bench program asked a script to do, and the answer to it.
 *
 * Owns both ends of the conversation: one JSON object on standard input, one on standard output. Credentials
 * come this way because the arguments of a process are everybody's to read.
 */
final class Task
{
    /** @param array<string, mixed> $values */
    private function __construct(private readonly array $values) {}

    public static function fromStandardInput(): self
    {
        $values = json_decode((string) stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);

        return new self(is_array($values) ? $values : []);
    }

    /** The next task of a script that is given several, a line each; null when there is none any more. */
    public static function fromLine(): ?self
    {
        $line = fgets(STDIN);
        $values = $line === false ? null : json_decode($line, true, flags: JSON_THROW_ON_ERROR);

        return is_array($values) ? new self($values) : null;
    }

    public function part(string $name): self
    {
        $value = $this->values[$name] ?? null;

        return is_array($value) ? new self($value) : throw $this->unexpected($name, 'an object', $value);
    }

    public function text(string $name): string
    {
        $value = $this->values[$name] ?? null;

        return is_string($value) ? $value : throw $this->unexpected($name, 'a string', $value);
    }

    public function number(string $name): int
    {
        $value = $this->values[$name] ?? null;

        return is_int($value) ? $value : throw $this->unexpected($name, 'an integer', $value);
    }

    public function sidecar(string $transport): Sidecar
    {
        return new Sidecar($this->text('socket'), $this->text('key'), $this->text('secret'), [
            'transport' => $transport,
            // A machine that is busy with something else shows in the figures; it does not end the bench.
            'publish_timeout_ms' => 10_000,
        ]);
    }

    /** @param array<string, mixed> $result */
    public function answer(array $result): void
    {
        fwrite(STDOUT, json_encode($result, JSON_THROW_ON_ERROR)."\n");
    }

    private function unexpected(string $name, string $expected, mixed $found): RuntimeException
    {
        return new RuntimeException("Expected {$name} in the task to be {$expected}, found ".get_debug_type($found).'; start this script through bench/run.');
    }
}
