<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Doctor\Examination;
use Fanfare\Laravel\Doctor\Subject;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Illuminate\Contracts\Console\Kernel;
use PHPUnit\Framework\TestCase;

/**
 * docs/commands.md has every command, every option and every check that there is.
 */
final class CommandsDocumentTest extends TestCase
{
    public function test_every_command_and_option_is_described_and_helps(): void
    {
        $document = (string) file_get_contents(dirname(__DIR__, 3).'/docs/commands.md');
        $commands = array_filter(
            ChatApplication::boot()->make(Kernel::class)->all(),
            static fn (string $name): bool => str_starts_with($name, 'fanfare:'),
            ARRAY_FILTER_USE_KEY,
        );

        self::assertGreaterThanOrEqual(7, count($commands));

        foreach ($commands as $name => $command) {
            self::assertMatchesRegularExpression("/^## {$name}$/m", $document);
            self::assertStringContainsString('Exit codes: ', $command->getHelp(), $name);
            $section = preg_split('/^## /m', (string) strstr($document, "\n## {$name}\n"))[1] ?? '';

            foreach (array_keys($command->getNativeDefinition()->getOptions()) as $option) {
                // Said once for all of them.
                if ($option !== 'socket') {
                    self::assertMatchesRegularExpression("/`--{$option}[`=]/", $section, $name);
                }
            }
        }
    }

    public function test_every_check_of_the_doctor_is_described(): void
    {
        $document = (string) file_get_contents(dirname(__DIR__, 3).'/docs/commands.md');
        $subject = new Subject([], [], [], null, [], null, 'http://localhost', '', [], new BinaryLocator('/nonexistent', ''));
        $titles = [];

        foreach (Examination::complete()->of($subject) as $title => $finding) {
            self::assertStringNotContainsString('The check itself failed', $finding->message, $title);
            $titles[$title] = true;
        }

        foreach (array_keys($titles) as $title) {
            self::assertStringContainsString(str_replace('Extension (PHP-FPM)', '(PHP-FPM)', $title), $document);
        }
    }
}
