<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Install;

use Fanfare\Laravel\Install\Application;
use Fanfare\Laravel\Install\ChannelRoutes;
use Fanfare\Laravel\Install\Diff;
use Fanfare\Laravel\Install\EnvFile;
use Fanfare\Laravel\Install\Parts;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

final class FilesTest extends TestCase
{
    use OwnDirectory;

    public function test_a_variable_changes_where_it_stands_and_comments_stay(): void
    {
        $env = new EnvFile("# mine\nA=1\nB=\"two words\" \nEMPTY=\n\nA=late\n");

        self::assertSame(['1', 'two words', '', null], [$env->value('A'), $env->value('B'), $env->value('EMPTY'), $env->value('C')]);
        // What looks like a reference to a match is text.
        self::assertSame("# mine\nA=\"\$0 \\\\1\"\nB=\"two words\" \nEMPTY=\n\nA=late\n", $env->with('A', '$0 \\1')->text);
        self::assertSame("# mine\nA=1\nB=\"two words\" \nEMPTY=x\n\nA=late\n\n# why\nC=\"1 2\"\n", $env->withMissing(['A' => '9', 'EMPTY' => 'x', 'C' => '1 2'], 'why')->text);
        self::assertSame("A=1\n", (new EnvFile(''))->with('A', '1')->text);
        self::assertSame(['A', 'B'], $env->names(''));
    }

    /**
     * @return iterable<array{string, string}>
     */
    public static function lines(): iterable
    {
        yield ['+ DB_PASSWORD=hunter2', '+ DB_PASSWORD=(7 characters)'];
        yield ['- APP_KEY=base64:abc', '- APP_KEY=(10 characters)'];
        yield ['+ FANFARE_APP_KEY=public', '+ FANFARE_APP_KEY=public'];
        yield ['+ FANFARE_APP_SECRET="s e"', '+ FANFARE_APP_SECRET=(3 characters)'];
        yield ['+ VITE_REVERB_APP_KEY="${FANFARE_APP_KEY}"', '+ VITE_REVERB_APP_KEY="${FANFARE_APP_KEY}"'];
        yield ['+ AWS_SECRET_ACCESS_KEY=x', '+ AWS_SECRET_ACCESS_KEY=(1 characters)'];
        yield ['+ BROADCAST_CONNECTION=fanfare', '+ BROADCAST_CONNECTION=fanfare'];
    }

    #[DataProvider('lines')]
    public function test_secrets_are_not_shown(string $line, string $shown): void
    {
        self::assertSame($shown, EnvFile::masked($line));
    }

    public function test_a_diff_has_what_goes_what_comes_and_what_stands_around(): void
    {
        self::assertSame(['  b', '- c', '+ C', '  d', '  …', '  f', '+ g'], Diff::lines("a\nb\nc\nd\ne\nf\n", "a\nb\nC\nd\ne\nf\ng\n", 1));
        self::assertSame([], Diff::lines("a\n", "a\n"));
        self::assertSame(['+ a'], Diff::lines('', "a\n"));
        self::assertSame(['- a'], Diff::lines("a\n", '', 0));
    }

    /**
     * @return iterable<string, array{string, string|null, bool}>
     */
    public static function bootstraps(): iterable
    {
        $line = "channels: __DIR__.'/../routes/channels.php',";

        yield 'commented out' => ["->withRouting(\n        // {$line}\n    )", "->withRouting(\n        {$line}\n    )", false];
        yield 'there' => ["->withRouting(\n        {$line}\n    )", null, false];
        yield 'behind the commands' => ["->withRouting(\n        commands: __DIR__.'/../routes/console.php',\n    )", "->withRouting(\n        commands: __DIR__.'/../routes/console.php',\n        {$line}\n    )", false];
        yield 'on one line' => ["->withRouting(web: 'x', health: '/up')", "->withRouting(\n        {$line}\n        web: 'x', health: '/up')", false];
        yield 'withBroadcasting' => ["->withRouting()->withBroadcasting(__DIR__.'/x')", null, false];
        yield 'a form of its own' => ['return make_my_app();', null, true];
    }

    #[DataProvider('bootstraps')]
    public function test_the_routes_are_registered_in_every_form_of_the_bootstrap_file(string $before, ?string $after, bool $needsHand): void
    {
        $bootstrap = $this->scratch->file('app.php', $before);
        $this->scratch->file('routes/channels.php', '<?php');
        $app = new Application($this->scratch->path(''), '', '', $bootstrap, '', '');
        $changes = ChannelRoutes::changes($app);

        self::assertSame($after === null ? [] : [$after], array_map(static fn ($change): string => $change->after, $changes));
        self::assertSame($needsHand, ChannelRoutes::needsHand($app));
    }

    public function test_parts_are_found_where_they_are_or_where_a_checkout_leaves_them(): void
    {
        $locator = new BinaryLocator($this->scratch->path('vendor/bin'), '');
        $parts = new Parts($locator, $this->scratch->path(''));

        self::assertSame([null, false], $parts->binary(null));
        self::assertNull($parts->build());

        $built = $this->scratch->file('target/release/fanfare', '', 0o755);
        self::assertSame([$built, false], $parts->binary(null));

        $installed = $this->scratch->file('vendor/bin/fanfare', '', 0o755);
        self::assertSame([$installed, true], $parts->binary(null));

        $this->scratch->file('Makefile', '');
        $this->scratch->file('ext/Cargo.toml', '');
        self::assertSame(['make', '-C', $this->scratch->path(''), 'build'], $parts->build());
    }
}
