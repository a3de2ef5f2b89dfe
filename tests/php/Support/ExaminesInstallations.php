<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use PHPUnit\Framework\Assert;

/**
 * Asks `fanfare:doctor` and looks through what it has found.
 */
trait ExaminesInstallations
{
    /**
     * @param  array<string, string|null>  $environment
     * @param  list<string>  $options
     * @param  int|null  $expected  the exit code; null: any
     * @param  list<string>  $through  a program that starts it, with its arguments
     * @return list<array{check: string, severity: string, message: string, remedy: string}>
     */
    private function examine(ScratchApplication $application, array $environment = [], array $options = [], ?int $expected = 1, array $through = []): array
    {
        $command = $application->run(['fanfare:doctor', '--json', ...$options], $environment, through: $through);
        $code = $command->exitCode();
        $report = json_decode($command->transcript, true, flags: JSON_THROW_ON_ERROR);

        Assert::assertSame([$code === 0, $expected ?? $code], [$report['healthy'], $code], $command->transcript);

        foreach ($report['findings'] as $finding) {
            // Whoever is told of a fault is told what to do.
            Assert::assertTrue($finding['remedy'] !== '' || in_array($finding['severity'], ['good', 'note'], true), $finding['message']);
            Assert::assertStringNotContainsString('The check itself failed', $finding['message']);
        }

        return $report['findings'];
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     * @return array{check: string, severity: string, message: string, remedy: string}
     */
    private static function one(array $found, string $check): array
    {
        $of = array_values(array_filter($found, static fn (array $finding): bool => $finding['check'] === $check));

        return $of[0] ?? Assert::fail("no finding of {$check}");
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     * @return array{check: string, severity: string, message: string, remedy: string}
     */
    private static function error(array $found, string $check): array
    {
        foreach ($found as $finding) {
            if ($finding['check'] === $check && $finding['severity'] === 'error') {
                return $finding;
            }
        }

        Assert::fail("no error of {$check} in ".json_encode($found, JSON_PRETTY_PRINT));
    }
}
