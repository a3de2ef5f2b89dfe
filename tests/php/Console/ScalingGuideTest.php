<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\Guide;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\Program;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningNginx;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\TestCase;

/**
 * Does what docs/scaling.md says under the heading below, command by command, in a fresh application.
 */
final class ScalingGuideTest extends TestCase
{
    use OwnDirectory;

    private const string HEADING = 'Two servers in five minutes';

    private FreshApplication $app;

    public function test_the_walk_through_is_carried_out_line_by_line(): void
    {
        Program::path('node');
        $redis = new RunningRedis($this->scratch);
        $blocks = $this->written(self::blocks('sh'));
        self::assertCount(9, $blocks, 'a block that is new has a place in this test');
        [[$client], [$route]] = [self::blocks('js'), self::blocks('php')];

        $this->app = new FreshApplication($this->scratch, [
            '.env' => FreshApplication::env()."REDIS_HOST={$redis->socket}\nREDIS_PORT=0\n",
            'routes/console.php' => "<?php\n\nuse Illuminate\\Support\\Facades\\Artisan;\n\n{$route}",
            'client.mjs' => $client,
        ]);
        self::assertSame(0, $this->app->artisan(['fanfare:install', '--no-interaction'])->exitCode());

        $install = $this->started($blocks[0]);
        $install->line('Write .env?');
        self::assertSame(0, $install->write("yes\n")->exitCode(), $install->transcript);

        [$first, $second] = [$this->started("exec {$blocks[1]}"), $this->started("exec {$blocks[2]}")];
        $first->line('serving');
        $second->line('serving');
        $this->untilServers(2, 'fanfare-1.sock', 'fanfare-2.sock');

        $clients = [$this->started("exec {$blocks[3]}"), $this->started("exec {$blocks[4]}")];
        array_map(static fn (RunningCommand $client) => $client->line('subscription_succeeded'), $clients);
        $this->done($blocks[5]);

        foreach ($clients as $client) {
            // Each was published beside another server: which comes first is nobody's promise.
            $texts = [json_decode($client->line('"hello"'), true)['data'], json_decode($client->line('"hello"'), true)['data']];
            self::assertEqualsCanonicalizing(['"first"', '"second"'], $texts);
        }

        self::assertMatchesRegularExpression('/Servers of the fleet \.* 2 live/', $this->done($blocks[6]));
        $this->done($blocks[7]);
        $this->untilServers(1, 'fanfare-1.sock');
        self::assertMatchesRegularExpression('/Servers of the fleet \.* 1 live/', $this->done($blocks[8]));

        self::assertSame([0, 0], [$second->exitCode(), $first->signal(SIGTERM)->exitCode()]);
        self::assertSame([0, 0], array_map(static fn (RunningCommand $client): int => $client->exitCode(), $clients));
        $redis->stop();
    }

    /**
     * @return list<string>
     */
    private static function blocks(string $language): array
    {
        return Guide::blocks('scaling.md', $language, self::HEADING);
    }

    /**
     * With ports that are free, and sockets of the test's own.
     *
     * @param  list<string>  $blocks
     * @return list<string>
     */
    private function written(array $blocks): array
    {
        return str_replace(
            ['8081', '8082', '/tmp/'],
            [(string) RunningNginx::freePort(), (string) RunningNginx::freePort(), $this->scratch->path('').'/'],
            $blocks,
        );
    }

    /**
     * Who types is slower than this.
     */
    private function untilServers(int $count, string ...$sockets): void
    {
        foreach ($sockets as $socket) {
            $inspector = new Inspector($this->scratch->path($socket));
            Patience::until("{$count} servers", static fn (): bool => $inspector->status()->metric('fleet_nodes') === $count);
        }
    }

    private function done(string $block): string
    {
        $command = $this->started($block);
        self::assertSame(0, $command->exitCode(), "{$block}\n{$command->transcript}");

        return $command->transcript;
    }

    private function started(string $block): RunningCommand
    {
        return new RunningCommand(['sh', '-ec', $block], $this->app->directory, ScratchApplication::environment(['FANFARE_SHARDS' => '1', 'NO_COLOR' => '1']));
    }
}
