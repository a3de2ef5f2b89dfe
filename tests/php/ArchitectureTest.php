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

    #[DataProvider('files')]
    public function test_every_file_keeps_the_rules(string $name): void
    {
        $code = (string) file_get_contents(self::PACKAGE."/{$name}");

        self::assertStringStartsWith("<?php\n\ndeclare(strict_types=1);\n", $code);
        self::assertLessThan(500, substr_count($code, "\n"), 'a file that long is usually two subjects');

        if (str_starts_with($name, 'src/')) {
            self::assertMatchesRegularExpression('/^(final (readonly )?class|interface|enum) /m', $code);
            self::assertDoesNotMatchRegularExpression('/^(abstract |readonly )?class /m', $code);
            self::assertDoesNotMatchRegularExpression('/\benv\(/', $code, 'only config/fanfare.php reads the environment of Laravel');
            self::assertDoesNotMatchRegularExpression('/\b(app|config|resolve)\(/', $code, 'what a class needs is given to it');
            self::assertDoesNotMatchRegularExpression('/^use Pusher\\\\/m', $code, 'the package needs no SDK of Pusher');
            self::assertSame(
                'Fanfare\\Laravel'.rtrim('\\'.str_replace('/', '\\', substr(dirname($name), strlen('src/'))), '\\'),
                preg_match('/^namespace (.+);$/m', $code, $matches) === 1 ? $matches[1] : null,
            );
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
