<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Config;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use PHPUnit\Framework\TestCase;

final class RedisConfigTest extends TestCase
{
    private const array LARAVEL = [
        'client' => 'phpredis',
        'options' => ['cluster' => 'redis', 'prefix' => 'app-database-'],
        'default' => ['url' => null, 'host' => 'redis.internal', 'username' => null, 'password' => 'pässword', 'port' => '6380', 'database' => '0'],
        'secure' => ['scheme' => 'tls', 'host' => 'redis.internal', 'username' => 'app', 'password' => 'x'],
        'by-url' => ['url' => 'tls://:x@redis.internal:1'],
        'local' => ['host' => '/run/redis.sock', 'port' => 0],
        'clusters' => ['many' => [
            ['host' => 'tls://one', 'port' => 1, 'password' => 'x'], ['host' => 'tls://::1', 'port' => 2, 'password' => 'x'],
        ]],
    ];

    public function test_without_a_server_of_redis_there_is_one_server_of_fanfare(): void
    {
        self::assertNull(self::redis([]));
        self::assertNull(self::redis(['url' => '', 'connection' => null, 'prefix' => 'fanfare:', 'cluster' => false]));
    }

    public function test_settings_of_its_own(): void
    {
        self::assertSame(['url' => 'redis://127.0.0.1:6379', 'prefix' => 'fanfare:'], self::redis(['url' => 'redis://127.0.0.1:6379', 'prefix' => 'fanfare:']));
        self::assertSame(
            ['url' => ['rediss://a:1', 'rediss://b:2'], 'cluster' => true, 'username' => 'u', 'password_file' => '/p', 'ca_file' => '/ca'],
            self::redis(['url' => 'rediss://a:1, rediss://b:2', 'cluster' => 'true', 'username' => 'u', 'password_file' => '/p', 'ca_file' => '/ca']),
        );
        self::assertSame(
            ['url' => 'redis://a:26379', 'sentinel' => ['master' => 'main', 'password' => 's'], 'password' => 'p'],
            self::redis(['url' => ['redis://a:26379'], 'sentinel' => 'main', 'sentinel_password' => 's', 'password' => 'p']),
        );
    }

    public function test_a_connection_of_laravel(): void
    {
        self::assertSame(['url' => 'redis://redis.internal:6380', 'password' => 'pässword'], self::redis(['connection' => 'default']));
        self::assertSame(
            ['url' => 'rediss://redis.internal:6379', 'prefix' => 'own:', 'username' => 'app', 'password' => 'x'],
            self::redis(['connection' => 'secure', 'prefix' => 'own:']),
        );
        self::assertSame(['url' => 'rediss://:x@redis.internal:1'], self::redis(['connection' => 'by-url']));
        self::assertSame(
            ['url' => ['rediss://one:1', 'rediss://[::1]:2'], 'cluster' => true, 'password' => 'x'],
            self::redis(['connection' => 'many']),
        );
    }

    public function test_mistakes_show_no_password(): void
    {
        $cases = [
            [['connection' => 'no-such'], 'fanfare.redis.connection'],
            [['connection' => 'options'], 'fanfare.redis.connection'],
            [['connection' => 'default', 'url' => 'redis://a'], 'fanfare.redis.connection'],
            [['url' => 'redis://a', 'passwort' => 'hunter2'], 'fanfare.redis.passwort'],
            [['url' => 'redis://a', 'password' => ['hunter2']], 'fanfare.redis.password'],
        ];

        foreach ($cases as [$redis, $path]) {
            try {
                self::redis($redis);
                self::fail("{$path} was accepted");
            } catch (InvalidConfiguration $mistake) {
                self::assertStringContainsString($path, $mistake->getMessage());
                self::assertStringNotContainsString('hunter2', $mistake->getMessage());
            }
        }
    }

    /**
     * @param  array<string, mixed>  $redis
     */
    private static function redis(array $redis): mixed
    {
        $fanfare = ['apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 's']], 'socket' => '/run/fanfare.sock', 'redis' => $redis];
        $document = json_decode(ServerConfig::from($fanfare, [], self::LARAVEL)->toJson(), true, flags: JSON_THROW_ON_ERROR);

        self::assertIsArray($document);

        return $document['redis'] ?? null;
    }
}
