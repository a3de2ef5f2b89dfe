<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Config;

use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

final class PublisherConfigTest extends TestCase
{
    private const array APP = ['id' => 'one', 'key' => 'key-one', 'secret' => 'secret-one'];

    private const array OTHER = ['id' => 'two', 'key' => 'key-two', 'secret' => 'secret-two'];

    public function test_absent_values_take_the_defaults_that_the_extension_has(): void
    {
        $config = PublisherConfig::from(['apps' => [self::APP], 'socket' => '/run/fanfare.sock']);

        self::assertSame('/run/fanfare.sock', $config->socket);
        self::assertSame('key-one', $config->app->key);
        self::assertSame('secret-one', $config->app->secret);
        self::assertSame([
            'transport' => 'auto',
            'ring_bytes' => 1_048_576,
            'publish_timeout_ms' => 250,
            'connect_timeout_ms' => 500,
            'ask_timeout_ms' => 5_000,
            'exit_timeout_ms' => 1_000,
        ], $config->sidecarOptions());
    }

    public function test_numbers_may_be_digits_as_the_environment_gives_them(): void
    {
        $config = PublisherConfig::from([
            'apps' => [self::APP],
            'socket' => '/s',
            'publish' => ['ring_bytes' => '65536', 'timeout_ms' => '0'],
        ]);

        self::assertSame(65_536, $config->ringBytes);
        self::assertSame(0, $config->publishTimeoutMs);
    }

    public function test_a_connection_names_its_app_and_without_a_name_it_is_the_first(): void
    {
        $fanfare = ['apps' => [self::APP, self::OTHER], 'socket' => '/s'];

        self::assertSame('one', PublisherConfig::from($fanfare)->app->id);
        self::assertSame('two', PublisherConfig::from($fanfare, ['driver' => 'fanfare', 'app' => 'two'])->app->id);
    }

    public function test_an_unknown_app_is_refused_with_the_ones_there_are(): void
    {
        self::assertSame(
            ['broadcasting.connections.*.app: expected the id of an app in fanfare.apps (one, two), found "three"'],
            self::mistakes(['apps' => [self::APP, self::OTHER], 'socket' => '/s'], ['app' => 'three']),
        );
    }

    public function test_all_mistakes_are_reported_at_once(): void
    {
        $mistakes = self::mistakes([
            'apps' => [['id' => 'one', 'key' => '', 'secret' => null], ['id' => null, 'key' => '', 'secret' => null]],
            'socket' => 'storage/fanfare.sock',
            'publish' => ['transport' => 'pigeon', 'ring_bytes' => 100_000, 'timeout_ms' => -1, 'connect_timeout_ms' => 'soon'],
        ]);

        self::assertSame([
            'fanfare.apps.0.key: expected the public key of an app, found an empty string; set FANFARE_APP_KEY',
            'fanfare.apps.0.secret: expected the secret of an app, found nothing; set FANFARE_APP_SECRET to a long random string',
            'fanfare.apps.1: expected id, key and secret of an app, found none of them; run `php artisan fanfare:install`, which writes them',
            'fanfare.publish.ring_bytes: expected a power of two, found 100000',
            'fanfare.socket: expected an absolute path, found "storage/fanfare.sock"; PHP-FPM and the command line have different working directories',
            'fanfare.publish.transport: expected one of auto, ring, socket, http, found "pigeon"',
            'fanfare.publish.timeout_ms: expected a whole number from 0 to 60000, found -1',
            'fanfare.publish.connect_timeout_ms: expected a whole number from 1 to 60000, found "soon"',
        ], $mistakes);
    }

    public function test_a_socket_path_may_have_107_bytes_and_not_one_more(): void
    {
        $fits = '/'.str_repeat('x', 106);

        self::assertSame($fits, PublisherConfig::from(['apps' => [self::APP], 'socket' => $fits])->socket);

        $mistakes = self::mistakes(['apps' => [self::APP], 'socket' => "{$fits}x"]);

        self::assertCount(1, $mistakes);
        self::assertStringStartsWith('fanfare.socket: expected a path of at most 107 bytes, found "/xxx', $mistakes[0]);
        self::assertStringContainsString('that is 108 bytes: set FANFARE_SOCKET', $mistakes[0]);
    }

    public function test_digits_that_do_not_fit_a_number_are_refused_instead_of_clamped(): void
    {
        self::assertSame(
            ['fanfare.publish.timeout_ms: expected a whole number from 0 to 60000, found "99999999999999999999"'],
            self::mistakes(['apps' => [self::APP], 'socket' => '/s', 'publish' => ['timeout_ms' => '99999999999999999999']]),
        );
    }

    public function test_apps_must_be_there_and_differ(): void
    {
        self::assertSame(
            ['fanfare.apps: expected at least one app, found none; add one with id, key and secret'],
            self::mistakes(['socket' => '/s']),
        );
        self::assertSame(
            [
                'fanfare.apps.1.id: expected an id that no other app has, found "one"',
                'fanfare.apps.1.key: expected a key that no other app has, found string',
            ],
            self::mistakes(['socket' => '/s', 'apps' => [self::APP, self::APP]]),
        );
    }

    /**
     * @param  array<string, mixed>  $publish
     * @param  list<ApiWay>  $ways
     */
    #[DataProvider('fallbacks')]
    public function test_fallbacks(array $publish, array $ways): void
    {
        self::assertSame($ways, PublisherConfig::from(['apps' => [self::APP], 'socket' => '/s', 'publish' => $publish])->fallback);
    }

    /**
     * @return iterable<string, array{array<string, mixed>, list<ApiWay>}>
     */
    public static function fallbacks(): iterable
    {
        $url = 'https://ws.example.com/base/';

        yield 'nothing said' => [[], [ApiWay::Unix]];
        yield 'auto' => [['fallback' => 'auto'], [ApiWay::Unix]];
        yield 'auto with a URL' => [['fallback' => 'auto', 'url' => $url], [ApiWay::Unix, ApiWay::Url]];
        yield 'an empty variable' => [['fallback' => '', 'url' => ''], [ApiWay::Unix]];
        yield 'none' => [['fallback' => 'none', 'url' => $url], []];
        yield 'an empty list' => [['fallback' => [], 'url' => $url], []];
        yield 'one' => [['fallback' => 'url', 'url' => $url], [ApiWay::Url]];
        yield 'an order of its own' => [['fallback' => 'url, unix', 'url' => $url], [ApiWay::Url, ApiWay::Unix]];
        yield 'a list with something twice' => [['fallback' => ['unix', 'unix']], [ApiWay::Unix]];
        yield 'without the extension' => [['transport' => 'http'], [ApiWay::Unix]];
    }

    /**
     * @param  array<string, mixed>  $publish
     * @param  list<string>  $mistakes
     */
    #[DataProvider('wrongFallbacks')]
    public function test_a_fallback_that_cannot_be_meant_is_refused(array $publish, array $mistakes): void
    {
        self::assertSame($mistakes, self::mistakes(['apps' => [self::APP], 'socket' => '/s', 'publish' => $publish]));
    }

    /**
     * @return iterable<string, array{array<string, mixed>, list<string>}>
     */
    public static function wrongFallbacks(): iterable
    {
        $expected = 'fanfare.publish.url: expected http:// or https:// with a host and perhaps a port and a path, such as http://10.0.0.5:8080, found';
        $remedy = 'the key and secret of the app are what requests are signed with';

        yield 'an unknown way' => [['fallback' => 'unix,pigeon'], ['fanfare.publish.fallback: expected a list of unix, url, found "pigeon"']];
        yield 'a number' => [['fallback' => 5], ['fanfare.publish.fallback: expected a list of unix, url, found 5']];
        yield 'a URL that is missing' => [['fallback' => ['url']], ['fanfare.publish.url: expected a URL, since fallback names it, found nothing; set FANFARE_API_URL']];
        yield 'another scheme' => [['url' => 'ws://example.com'], ["{$expected} \"ws://example.com\"; {$remedy}"]];
        yield 'no scheme' => [['url' => '10.0.0.5:8080'], ["{$expected} \"10.0.0.5:8080\"; {$remedy}"]];
        yield 'a query' => [['url' => 'http://h/?a=b'], ["{$expected} \"http://h/?a=b\"; {$remedy}"]];
        yield 'a password, which is not shown' => [['url' => 'http://u:hunter2@h'], ["{$expected} \"http://…@h\"; {$remedy}"]];
        yield 'nowhere to go' => [['transport' => 'http', 'fallback' => 'none'], ["fanfare.publish.fallback: expected a way to the HTTP API, since transport is http, found \"none\"; set it to 'auto'"]];
        yield 'a time-out' => [['http_timeout_ms' => 0], ['fanfare.publish.http_timeout_ms: expected a whole number from 1 to 60000, found 0']];
    }

    public function test_a_url_keeps_its_path_and_loses_the_slash_at_its_end(): void
    {
        $config = PublisherConfig::from(['apps' => [self::APP], 'socket' => '/s', 'publish' => ['url' => 'https://ws.example.com:8443/base/', 'http_timeout_ms' => 70]]);

        self::assertSame('https://ws.example.com:8443/base', $config->endpoint(ApiWay::Url)->url);
        self::assertSame([70, 70], [$config->endpoint(ApiWay::Url)->connectTimeoutMs, $config->endpoint(ApiWay::Unix)->timeoutMs]);
    }

    public function test_a_connection_replaces_what_it_names_and_its_mistakes_are_told_as_its_own(): void
    {
        $fanfare = ['apps' => [self::APP], 'socket' => '/s', 'publish' => ['timeout_ms' => 10, 'exit_timeout_ms' => 20]];
        $config = PublisherConfig::from($fanfare, ['driver' => 'fanfare', 'publish' => ['timeout_ms' => 30]]);

        self::assertSame([30, 20], [$config->publishTimeoutMs, $config->exitTimeoutMs]);
        self::assertSame(
            [
                'broadcasting.connections.*.publish.timeout_ms: expected a whole number from 0 to 60000, found -1',
                'fanfare.publish.exit_timeout_ms: expected a whole number from 0 to 60000, found "x"',
            ],
            self::mistakes(
                ['publish' => ['exit_timeout_ms' => 'x']] + $fanfare,
                ['publish' => ['timeout_ms' => -1]],
            ),
        );
    }

    public function test_no_message_and_no_dump_shows_a_secret(): void
    {
        $config = PublisherConfig::from(['apps' => [self::APP], 'socket' => '/s']);
        self::assertStringNotContainsString('secret-one', print_r($config, true));

        $mistakes = self::mistakes(['apps' => [['secret' => ['secret-one']] + self::APP], 'socket' => '/s']);
        self::assertStringNotContainsString('secret-one', implode($mistakes));
    }

    /**
     * @param  array<array-key, mixed>  $fanfare
     * @param  array<array-key, mixed>  $connection
     * @return non-empty-list<string>
     */
    private static function mistakes(array $fanfare, array $connection = []): array
    {
        try {
            PublisherConfig::from($fanfare, $connection);
        } catch (InvalidConfiguration $e) {
            foreach ($e->mistakes as $mistake) {
                self::assertStringContainsString("\n  - {$mistake}\n", $e->getMessage());
            }

            return $e->mistakes;
        }

        self::fail('expected InvalidConfiguration, found that the configuration was accepted');
    }
}
