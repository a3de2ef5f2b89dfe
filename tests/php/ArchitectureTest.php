<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use FilesystemIterator;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/**
 * Rules of the package that no single test would notice being broken.
 */
final class ArchitectureTest extends TestCase
{
    private const string PACKAGE = __DIR__.'/../../php';

    /**
     * Who may use whom: a room knows the rooms it is listed with, and itself. The root of the package puts
     * everything together.
     */
    private const array ROOMS = [
        'Exceptions' => ['Config'],
        'Config' => ['Exceptions'],
        'Api' => ['Config', 'Exceptions'],
        'Publishing' => ['Api', 'Config', 'Exceptions'],
        'Broadcasting' => ['Config', 'Exceptions', 'Publishing'],
        'Server' => ['Api', 'Config', 'Exceptions'],
        'Events' => [],
        'Listening' => ['Api', 'Config', 'Events', 'Exceptions', 'Server'],
        'Install' => ['Doctor', 'Exceptions', 'Server'],
        'Console' => ['Api', 'Config', 'Doctor', 'Exceptions', 'Install', 'Listening', 'Publishing', 'Server'],
        'Doctor' => ['Api', 'Config', 'Exceptions', 'Publishing', 'Server'],
        'Facades' => [],
        '' => ['Api', 'Broadcasting', 'Config', 'Console', 'Doctor', 'Exceptions', 'Publishing', 'Server'],
    ];

    #[DataProvider('files')]
    public function test_every_file_keeps_the_rules(string $name): void
    {
        $text = (string) file_get_contents(self::PACKAGE."/{$name}");

        self::assertStringStartsWith("<?php\n\ndeclare(strict_types=1);\n", $text);
        self::assertLessThan(500, substr_count($text, "\n"), 'a file that long is usually two subjects');

        if (str_starts_with($name, 'src/')) {
            $code = self::withoutComments($text);

            self::assertMatchesRegularExpression('/^(final (readonly )?class|interface|enum) /m', $code);
            self::assertDoesNotMatchRegularExpression('/^(abstract |readonly )?class /m', $code);
            self::assertDoesNotMatchRegularExpression('/\benv\(/', $code, 'only config/fanfare.php reads the environment of Laravel');
            self::assertDoesNotMatchRegularExpression('/(?<!function |->|::)\b(app|config|resolve|request|logger|cache|response)\(/', $code, 'what a class needs is given to it');
            self::assertDoesNotMatchRegularExpression('/^use Pusher\\\\/m', $code, 'the package needs no SDK of Pusher');
            self::assertDoesNotMatchRegularExpression('/^use GuzzleHttp\\\\/m', $code, 'the package needs no HTTP client');
            self::assertSame(
                'Fanfare\\Laravel'.rtrim('\\'.str_replace('/', '\\', substr(dirname($name), strlen('src/'))), '\\'),
                preg_match('/^namespace (.+);$/m', $code, $matches) === 1 ? $matches[1] : null,
            );
        }
    }

    /**
     * A worker serves one request after the other, and perhaps one tenant after the other: what a class
     * remembers belongs to an object that somebody made for it.
     */
    #[DataProvider('classes')]
    public function test_no_class_remembers_anything_by_itself(string $name): void
    {
        $code = self::withoutComments((string) file_get_contents(self::PACKAGE."/{$name}"));

        self::assertDoesNotMatchRegularExpression('/\bstatic\s+(\??[\w|\\\\]+\s+)?\$/', $code, 'no static properties or variables');
        self::assertDoesNotMatchRegularExpression('/\bglobal\s+\$|\$GLOBALS\b|\bputenv\(|\bini_set\(/', $code, 'no globals');
        self::assertStringNotContainsString('Container::getInstance()', $code, 'the container may be another request\'s');
    }

    #[DataProvider('classes')]
    public function test_every_room_knows_only_the_rooms_below_it(string $name): void
    {
        $code = self::withoutComments((string) file_get_contents(self::PACKAGE."/{$name}"));
        $room = explode('/', substr($name, strlen('src/')))[0];
        $room = str_ends_with($room, '.php') ? '' : $room;

        self::assertArrayHasKey($room, self::ROOMS, 'a new room says whom it knows');
        preg_match_all('/^use Fanfare\\\\Laravel\\\\(?:(\w+)\\\\)?\w+;$/m', $code, $used);

        foreach (array_diff($used[1], [$room], $room === 'Facades' ? [''] : []) as $other) {
            self::assertContains($other, self::ROOMS[$room], "{$name} uses something of {$other}");
        }
    }

    private static function withoutComments(string $code): string
    {
        $tokens = array_filter(\PhpToken::tokenize($code), static fn (\PhpToken $token): bool => ! $token->is([T_COMMENT, T_DOC_COMMENT]));

        return implode(array_map(static fn (\PhpToken $token): string => $token->text, $tokens));
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function classes(): iterable
    {
        foreach (self::files() as $name => $arguments) {
            if (str_starts_with($name, 'src/')) {
                yield $name => $arguments;
            }
        }
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function files(): iterable
    {
        $files = new RecursiveIteratorIterator(new RecursiveDirectoryIterator(self::PACKAGE, FilesystemIterator::SKIP_DOTS));

        foreach ($files as $file) {
            if ($file->getExtension() === 'php') {
                $name = substr($file->getPathname(), strlen(self::PACKAGE) + 1);
                yield $name => [$name];
            }
        }
    }
}
