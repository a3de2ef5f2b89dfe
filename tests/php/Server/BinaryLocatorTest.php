<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Server;

use Fanfare\Laravel\Exceptions\BinaryNotFound;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use PHPUnit\Framework\TestCase;

final class BinaryLocatorTest extends TestCase
{
    use OwnDirectory;

    public function test_a_configured_path_is_taken(): void
    {
        $binary = $this->executable('own/name');

        self::assertSame($binary, $this->locator()->locate($binary));
    }

    public function test_a_configured_path_is_never_passed_over_for_another_binary(): void
    {
        $this->executable('vendor/bin/fanfare');
        $plain = $this->scratch->file('plain', '', 0o644);

        foreach ([
            $this->scratch->path('gone') => 'found nothing there',
            $this->scratch->path('') => 'found something that is not a file',
            $plain => 'found a file that this user may not execute',
        ] as $configured => $found) {
            try {
                $this->locator()->locate($configured);
                self::fail("expected BinaryNotFound for {$configured}");
            } catch (BinaryNotFound $e) {
                self::assertStringContainsString("at {$configured}, {$found}", $e->getMessage());
                self::assertStringContainsString('FANFARE_BINARY', $e->getMessage());
            }
        }
    }

    public function test_composers_binary_comes_before_the_path(): void
    {
        $second = $this->executable('b/fanfare');
        self::assertSame($second, $this->locator()->locate(null));

        $first = $this->executable('a/fanfare');
        self::assertSame($first, $this->locator()->locate(null));

        $own = $this->executable('vendor/bin/fanfare');
        self::assertSame($own, $this->locator()->locate(null));
    }

    public function test_what_cannot_be_executed_is_not_found(): void
    {
        $this->scratch->file('vendor/bin/fanfare', '', 0o644);
        mkdir($this->scratch->path('a/fanfare'), recursive: true);

        try {
            $this->locator()->locate(null);
            self::fail('expected BinaryNotFound');
        } catch (BinaryNotFound $e) {
            foreach (['vendor/bin/fanfare', 'a/fanfare', 'b/fanfare'] as $place) {
                self::assertStringContainsString("\n  - {$this->scratch->path($place)}\n", $e->getMessage());
            }
        }
    }

    private function executable(string $name): string
    {
        return $this->scratch->file($name, "#!/bin/sh\n", 0o755);
    }

    private function locator(): BinaryLocator
    {
        return new BinaryLocator($this->scratch->path('vendor/bin'), $this->scratch->path('a').'::'.$this->scratch->path('b/'));
    }
}
