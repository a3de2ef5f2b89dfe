<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use PHPUnit\Framework\Assert;
use Symfony\Component\Process\ExecutableFinder;

/**
 * What tests need beside PHP. All of it is in the root of dev/; a machine of its own may lack some.
 */
final class Program
{
    /**
     * Its path; without it the test is skipped.
     */
    public static function path(string $name): string
    {
        return (new ExecutableFinder)->find($name, null, ['/usr/sbin', '/usr/local/sbin']) ?? Assert::markTestSkipped("needs {$name}");
    }
}
