<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Install;

use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Install\ReverbVariables;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * What is said about Reverb's variables, against what config/fanfare.php and the guide make of them.
 */
final class ReverbVariablesTest extends TestCase
{
    private const array VALUES = [
        'REVERB_SERVER_HOST' => '127.0.0.7', 'REVERB_HOST' => 'app.example', 'REVERB_SCHEME' => 'http',
        'REVERB_SERVER_PATH' => '/ws', 'REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM' => 'none',
    ];

    #[DataProvider('variables')]
    public function test_a_variable_is_used_as_it_is_said_unless_fanfares_own_is_set(string $name, ?string $key, ?string $winner): void
    {
        $value = self::VALUES[$name] ?? '4321';
        // The URL needs a host.
        $host = $key === 'url' ? ['REVERB_HOST' => 'app.example'] : [];
        $with = self::config([$name => $value] + $host);

        if ($key === null) {
            self::assertSame(self::config([]), $with);

            return;
        }

        $found = self::at($with, $key);

        if ($key === 'url') {
            self::assertStringContainsString($value, (string) $found);
        } elseif ($value === 'none') {
            self::assertFalse($found);
            self::assertTrue(self::at(self::config([$name => 'members']), $key));
        } else {
            self::assertSame($value, (string) $found);
        }

        if ($winner !== null) {
            self::assertSame('8765', (string) self::at(self::config([$name => $value, $winner => '8765'] + $host), $key));

            // An empty one is not set, but for the path: no path is what an empty one says.
            $hidden = self::at(self::config([$name => $value, $winner => ''] + $host), $key);
            self::assertSame($winner === 'FANFARE_PATH' ? '' : $found, $hidden);
        }
    }

    public function test_empty_variables_are_what_unset_ones_are(): void
    {
        $file = (string) file_get_contents(dirname(__DIR__, 3).'/php/config/fanfare.php');
        preg_match_all("/'((?:FANFARE|REVERB)_[A-Z_]+)'/", $file, $names);
        self::assertGreaterThan(30, count($names[1]));

        // That no page may connect is hardly meant, and is a mistake that is told.
        $empty = array_diff_key(array_fill_keys($names[1], ''), ['FANFARE_APP_ALLOWED_ORIGINS' => true]);
        $credentials = ['REVERB_APP_ID' => '1', 'REVERB_APP_KEY' => 'k', 'REVERB_APP_SECRET' => 's', 'REVERB_HOST' => 'app.example'];
        [$unset, $with] = [self::config($credentials), self::config($credentials + $empty)];

        // What is left out is left to the server, whose defaults are the file's (ServerConfigTest).
        $document = json_decode(ServerConfig::from($with)->toJson(), true, flags: JSON_THROW_ON_ERROR);
        $document['apps'][0] += ['enabled' => true, 'subscription_count' => false, 'missing_origin' => 'allow'];
        self::assertEquals(json_decode(ServerConfig::from($unset)->toJson(), true, flags: JSON_THROW_ON_ERROR), $document);
        self::assertEquals(PublisherConfig::from($unset), PublisherConfig::from($with));
        self::assertSame(['https://app.example:443', 'https://app.example:443'], [$unset['url'], $with['url']]);
    }

    #[DataProvider('variables')]
    public function test_the_guide_lists_it(string $name, ?string $key, ?string $winner): void
    {
        $guide = (string) file_get_contents(dirname(__DIR__, 3).'/docs/migrate-from-reverb.md');
        $row = preg_match("/^\\| `{$name}` \\| (.*?) \\|.*\\| ?(.*?) ?\\|$/m", $guide, $matches) === 1 ? [$matches[1], $matches[2]] : self::fail("expected a row for {$name}");

        self::assertSame([$key === null ? 'not used' : "`{$key}`", $winner === null ? '' : "`{$winner}`"], $row);
    }

    public function test_all_of_a_reverb_application_is_a_sound_configuration(): void
    {
        $server = ServerConfig::from(self::config([
            'REVERB_APP_ID' => '1', 'REVERB_APP_KEY' => 'k', 'REVERB_APP_SECRET' => 's', 'REVERB_SERVER_PORT' => '6001',
            'REVERB_APP_ACTIVITY_TIMEOUT' => '30', 'REVERB_APP_PING_INTERVAL' => '60', 'REVERB_APP_MAX_MESSAGE_SIZE' => '10000',
            'FANFARE_SOCKET' => '/run/f.sock',
        ]));

        self::assertSame(['activity_timeout_s' => 30, 'pong_timeout_s' => 60, 'message_bytes_max' => 10_000], $server->limits);
        self::assertSame('0.0.0.0:6001', $server->listen());
    }

    /**
     * @return iterable<string, array{string, string|null, string|null}>
     */
    public static function variables(): iterable
    {
        foreach (ReverbVariables::known() as $name => [$key, $winner]) {
            yield $name => [$name, $key, $winner];
        }
    }

    /**
     * The file as Laravel loads it, in a process whose environment is what is given.
     *
     * @param  array<string, string>  $environment
     * @return array<string, mixed>
     */
    private static function config(array $environment): array
    {
        $code = 'require $argv[1]; Illuminate\Container\Container::setInstance(new Illuminate\Foundation\Application("/srv/app")); echo json_encode(require $argv[2]);';
        $root = dirname(__DIR__, 3);
        // PHP itself would pass no empty variable on.
        $variables = array_map(static fn (string $name, string $value): string => "{$name}={$value}", array_keys($environment), $environment);
        $command = new RunningCommand(['env', '-i', ...$variables, PHP_BINARY, '-r', $code, "{$root}/examples/chat/vendor/autoload.php", "{$root}/php/config/fanfare.php"]);
        $command->exitCode();

        return json_decode($command->transcript, true, flags: JSON_THROW_ON_ERROR);
    }

    /**
     * @param  array<string, mixed>  $config
     */
    private static function at(array $config, string $key): mixed
    {
        foreach (explode('.', $key) as $part) {
            self::assertIsArray($config);
            self::assertArrayHasKey($part, $config);
            $config = $config[$part];
        }

        return $config;
    }
}
