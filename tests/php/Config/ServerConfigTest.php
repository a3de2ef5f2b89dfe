<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Config;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

final class ServerConfigTest extends TestCase
{
    private const array FANFARE = [
        'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
        'socket' => '/run/fanfare.sock',
    ];

    public function test_the_document_names_what_the_server_needs_and_leaves_the_rest_to_it(): void
    {
        self::assertSame([
            'listen' => '0.0.0.0:8080',
            'socket' => '/run/fanfare.sock',
            'socket_mode' => '0660',
            'socket_uids' => [],
            'log' => ['level' => 'info', 'format' => 'text'],
            'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
        ], self::document(self::FANFARE));
    }

    public function test_everything_that_is_configured_is_in_the_document(): void
    {
        $server = [
            'host' => '::1', 'port' => '0', 'shards' => '3', 'socket_mode' => '0600', 'socket_uids' => '33, 1000',
            'log' => ['level' => 'trace', 'format' => 'json'], 'limits' => ['outbox_bytes_max' => 65_536],
        ];

        self::assertSame([
            'listen' => '[::1]:0',
            'socket' => '/run/fanfare.sock',
            'socket_mode' => '0600',
            'socket_uids' => [33, 1000],
            'log' => ['level' => 'trace', 'format' => 'json'],
            'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
            'shards' => 3,
            'limits' => ['outbox_bytes_max' => 65_536],
        ], self::document(['server' => $server] + self::FANFARE));
    }

    public function test_the_command_line_wins(): void
    {
        $config = ServerConfig::from(
            ['server' => ['host' => '10.0.0.1', 'port' => 1, 'log' => ['level' => 'warn', 'format' => 'json']]] + self::FANFARE,
            ['host' => '127.0.0.1', 'port' => '6001', 'socket' => '/run/other.sock', 'log_level' => 'debug'],
        );

        self::assertSame('127.0.0.1:6001', $config->listen());
        self::assertSame('/run/other.sock', $config->socket);
        self::assertSame('debug', $config->logLevel);
        self::assertSame('json', $config->logFormat);
    }

    /**
     * @param  array<string, mixed>  $server
     */
    #[DataProvider('nonsense')]
    public function test_nonsense_is_refused(array $server, string $mistake): void
    {
        try {
            ServerConfig::from(['server' => $server] + self::FANFARE);
        } catch (InvalidConfiguration $e) {
            self::assertSame([$mistake], $e->mistakes);

            return;
        }

        self::fail('expected InvalidConfiguration, found that the configuration was accepted');
    }

    /**
     * @return iterable<string, array{array<string, mixed>, string}>
     */
    public static function nonsense(): iterable
    {
        yield 'host' => [['host' => 'example.com'], 'fanfare.server.host: expected an IP address to listen on, or localhost, found "example.com"; use 0.0.0.0 for all interfaces'];
        yield 'port' => [['port' => 70_000], 'fanfare.server.port: expected a whole number from 0 to 65535, found 70000'];
        yield 'port with a space' => [['port' => '80 80'], 'fanfare.server.port: expected a whole number from 0 to 65535, found "80 80"'];
        yield 'shards' => [['shards' => 0], 'fanfare.server.shards: expected a whole number from 1 to 64, found 0'];
        yield 'mode' => [['socket_mode' => 'rw'], 'fanfare.server.socket_mode: expected an octal mode as a string, such as "0660", found "rw"'];
        yield 'mode as a number' => [['socket_mode' => 0o660], 'fanfare.server.socket_mode: expected an octal mode as a string, such as "0660", found 432'];
        yield 'uids' => [['socket_uids' => 'www-data'], 'fanfare.server.socket_uids: expected a whole number from 0 to 4294967294, found "www-data"'];
        yield 'log' => [['log' => 'debug'], 'fanfare.server.log: expected an array, found "debug"'];
        yield 'log level' => [['log' => ['level' => 'loud']], 'fanfare.server.log.level: expected one of error, warn, info, debug, trace, found "loud"'];
        yield 'limits' => [['limits' => ['outbox_bytes_max' => 'lots']], 'fanfare.server.limits.outbox_bytes_max: expected a whole number from 0, found "lots"'];
        yield 'limits without names' => [['limits' => [5]], 'fanfare.server.limits.0: expected a name for each limit, found 5'];
    }

    /**
     * @param  array<array-key, mixed>  $fanfare
     * @return array<string, mixed>
     */
    private static function document(array $fanfare): array
    {
        return json_decode(ServerConfig::from($fanfare)->toJson(), true, flags: JSON_THROW_ON_ERROR);
    }
}
