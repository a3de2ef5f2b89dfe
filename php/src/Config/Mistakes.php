<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;

/**
 * The mistakes found while a configuration is read, so that all of them are reported at once.
 */
final class Mistakes
{
    /** @var list<string> */
    private array $found = [];

    public function note(string $path, string $expected, string $found, string $remedy = ''): void
    {
        $this->found[] = "{$path}: expected {$expected}, found {$found}".($remedy === '' ? '' : "; {$remedy}");
    }

    /**
     * @throws InvalidConfiguration when anything was noted
     */
    public function report(): void
    {
        if ($this->found !== []) {
            throw InvalidConfiguration::because($this->found);
        }
    }
}
