<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Config;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * What the server is told about each app.
 */
final class AppConfigTest extends TestCase
{
    private const array APP = ['id' => 'one', 'key' => 'key-one', 'secret' => 'secret-one'];

    public function test_everything_that_an_app_has_of_its_own_is_in_the_document(): void
    {
        $own = [
            'enabled' => false,
            'client_events' => false,
            'subscription_count' => true,
            'allowed_origins' => ['https://example.com', '*.example.com'],
            'missing_origin' => 'refuse',
            'limits' => ['app_connections_max' => 500],
            'webhooks' => [
                [
                    'url' => 'https://example.com/webhook?token=1',
                    'events' => ['channel_occupied', 'client_event'],
                    'channel_prefix' => 'presence-',
                    'channel_suffix' => '-eu',
                    'headers' => ['Authorization' => 'Bearer 123'],
                ],
                ['url' => 'http://127.0.0.1:9000'],
            ],
            'listener' => ['events' => ['client_event'], 'channel_prefix' => 'presence-', 'channel_suffix' => '-eu'],
        ];

        self::assertSame([self::APP + $own], self::apps([self::APP + $own]));
        self::assertSame([0, "the configuration is sound\n"], self::check([self::APP + $own]));
    }

    public function test_what_laravel_does_not_judge_the_server_does(): void
    {
        [$code, $said] = self::check([self::APP + [
            'allowed_origins' => 'https://example.com/path',
            'limits' => ['attachments_max' => 5],
            'webhooks' => [['url' => 'https://example.com', 'headers' => ['X-Pusher-Key' => 'mine']]],
        ]]);

        self::assertSame(64, $code);

        foreach (['apps[0].allowed_origins[0]: ', 'apps[0].limits.attachments_max: ', 'apps[0].webhooks[0].headers'] as $mistake) {
            self::assertStringContainsString($mistake, $said);
        }
    }

    public function test_what_an_app_does_not_say_is_left_to_the_server(): void
    {
        $unsaid = [
            'enabled' => null, 'client_events' => '', 'subscription_count' => null, 'allowed_origins' => null,
            'missing_origin' => '', 'limits' => [], 'webhooks' => [], 'listener' => false,
        ];

        self::assertSame([self::APP], self::apps([self::APP]));
        self::assertSame([self::APP], self::apps([self::APP + $unsaid]));
        self::assertSame(
            [self::APP + ['webhooks' => [['url' => 'http://a.test']]]],
            self::apps([self::APP + ['webhooks' => [
                ['url' => 'http://a.test', 'events' => [], 'channel_prefix' => null, 'channel_suffix' => '', 'headers' => []],
            ]]]),
        );
    }

    public function test_values_may_be_written_as_the_environment_gives_them(): void
    {
        self::assertSame(
            [self::APP + [
                'enabled' => true,
                'client_events' => false,
                'subscription_count' => true,
                'allowed_origins' => ['https://a.test', 'localhost:3000'],
                'limits' => ['app_connections_max' => 5],
                'webhooks' => [['url' => 'http://a.test', 'events' => ['member_added', 'member_removed']]],
                'listener' => true,
            ]],
            self::apps([self::APP + [
                'enabled' => '1',
                'client_events' => 'false',
                'subscription_count' => 1,
                'allowed_origins' => 'https://a.test, localhost:3000',
                'limits' => ['app_connections_max' => '5'],
                'webhooks' => [['url' => 'http://a.test', 'events' => 'member_added,member_removed']],
                'listener' => 'true',
            ]]),
        );
    }

    public function test_apps_keep_their_order_and_what_is_theirs(): void
    {
        $two = ['id' => '2', 'key' => 'key-two', 'secret' => 'secret-two', 'enabled' => false];

        self::assertSame([$two, self::APP], self::apps(['b' => $two, 'a' => self::APP]));
    }

    /**
     * @param  array<string, mixed>  $app
     * @param  list<string>  $mistakes
     */
    #[DataProvider('nonsense')]
    public function test_nonsense_is_refused(array $app, array $mistakes): void
    {
        self::assertSame($mistakes, self::mistakes([self::APP + $app]));
    }

    /**
     * @return iterable<string, array{array<string, mixed>, list<string>}>
     */
    public static function nonsense(): iterable
    {
        yield 'a switch' => [['enabled' => 'yes'], ['fanfare.apps.0.enabled: expected true or false, found "yes"']];
        yield 'a listener' => [['listener' => 'yes'], ['fanfare.apps.0.listener: expected true or false, found "yes"']];
        yield 'a listener\'s filter' => [
            ['listener' => ['events' => ['typing'], 'url' => 'http://a.test']],
            [
                'fanfare.apps.0.listener.url: expected one of events, channel_prefix, channel_suffix, found an unknown key; correct its name or leave it out',
                'fanfare.apps.0.listener.events.0: expected one of channel_occupied, channel_vacated, member_added, member_removed, client_event, cache_miss, subscription_count, found "typing"',
            ],
        ];
        yield 'a number for a switch' => [['client_events' => 2], ['fanfare.apps.0.client_events: expected true or false, found 2']];
        yield 'an empty list of origins' => [
            ['allowed_origins' => []],
            ['fanfare.apps.0.allowed_origins: expected at least one origin, found nothing; name the origins of your pages, or * for all'],
        ];
        yield 'an empty variable of origins' => [
            ['allowed_origins' => ''],
            ['fanfare.apps.0.allowed_origins: expected at least one origin, found nothing; name the origins of your pages, or * for all'],
        ];
        yield 'origins' => [
            ['allowed_origins' => ['*', 7, '']],
            [
                'fanfare.apps.0.allowed_origins.1: expected an origin such as https://example.com, *.example.com or *, found 7',
                'fanfare.apps.0.allowed_origins.2: expected an origin such as https://example.com, *.example.com or *, found an empty string',
            ],
        ];
        yield 'no list of origins' => [['allowed_origins' => true], ['fanfare.apps.0.allowed_origins: expected a list, found true']];
        yield 'a policy' => [['missing_origin' => true], ['fanfare.apps.0.missing_origin: expected one of allow, refuse, found true']];
        yield 'limits' => [['limits' => ['app_connections_max' => 'many']], ['fanfare.apps.0.limits.app_connections_max: expected a whole number from 0, found "many"']];
        yield 'a misspelt key' => [
            ['allowed_orgins' => ['https://example.com']],
            ['fanfare.apps.0.allowed_orgins: expected one of id, key, secret, encryption_master_key, enabled, client_events, subscription_count, '
                .'allowed_origins, missing_origin, limits, webhooks, listener, found an unknown key; correct its name or leave it out'],
        ];
        yield 'webhooks' => [
            ['webhooks' => [
                ['url' => 'example.com/webhook'],
                ['url' => 'ftp://example.com', 'events' => ['channel_occupied', 'occupied'], 'channel_prefix' => 7],
                ['events' => 'all'],
            ]],
            [
                'fanfare.apps.0.webhooks.0.url: expected a URL that begins with https:// or http://, found "example.com/webhook"; '
                    ."write it as a browser's address line shows it",
                'fanfare.apps.0.webhooks.1.url: expected a URL that begins with https:// or http://, found "ftp://example.com"; '
                    ."write it as a browser's address line shows it",
                'fanfare.apps.0.webhooks.1.events.1: expected one of channel_occupied, channel_vacated, member_added, '
                    .'member_removed, client_event, cache_miss, subscription_count, found "occupied"',
                'fanfare.apps.0.webhooks.1.channel_prefix: expected how the names of channels begin, found 7',
                'fanfare.apps.0.webhooks.2.url: expected a URL that begins with https:// or http://, found nothing; '
                    .'name where the events are to be sent',
                'fanfare.apps.0.webhooks.2.events.0: expected one of channel_occupied, channel_vacated, member_added, '
                    .'member_removed, client_event, cache_miss, subscription_count, found "all"',
            ],
        ];
        yield 'one webhook instead of a list' => [
            ['webhooks' => ['url' => 'https://example.com']],
            [
                'fanfare.apps.0.webhooks.url: expected an array, found "https://example.com"',
                'fanfare.apps.0.webhooks.url.url: expected a URL that begins with https:// or http://, found nothing; '
                    .'name where the events are to be sent',
            ],
        ];
    }

    public function test_what_may_be_a_secret_is_not_shown(): void
    {
        $webhooks = [
            ['url' => 'https://name:hidden@example.com'],
            ['url' => 'wss://example.com?token=hidden'],
            ['url' => 'https://example.com', 'headers' => ['hidden', 'X-Token' => ['hidden']]],
            ['url' => 'https://example.com', 'headers' => 'hidden'],
        ];

        try {
            ServerConfig::from(['apps' => [self::APP + ['webhooks' => $webhooks]], 'socket' => '/s']);
        } catch (InvalidConfiguration $e) {
            self::assertCount(5, $e->mistakes);
            self::assertStringNotContainsString('hidden', $e->getMessage());
        }

        $config = ServerConfig::from(['socket' => '/s', 'apps' => [self::APP + ['webhooks' => [
            ['url' => 'https://example.com/a?token=hidden', 'headers' => ['X-Token' => 'hidden']],
        ]]]]);

        ob_start();
        var_dump($config);
        $dump = (string) ob_get_clean();

        self::assertStringContainsString('https://example.com/a', $dump);
        self::assertStringNotContainsString('?token', $dump);
        self::assertStringNotContainsString('secret-one', $dump);
        self::assertSame(1, substr_count($dump, '"(hidden)"') - 1, 'the app\'s secret, and the header');
    }

    /**
     * @param  array<array-key, mixed>  $apps
     * @return list<array<string, mixed>>
     */
    private static function apps(array $apps): array
    {
        $json = ServerConfig::from(['apps' => $apps, 'socket' => '/s'])->toJson();

        return json_decode($json, true, flags: JSON_THROW_ON_ERROR)['apps'];
    }

    /**
     * What the real server says of the document: exit code and words.
     *
     * @param  array<array-key, mixed>  $apps
     * @return array{int, string}
     */
    private static function check(array $apps): array
    {
        $command = new RunningCommand([ChatApplication::serverBinary(), 'check', '--config', '-']);
        $command->write(ServerConfig::from(['apps' => $apps, 'socket' => '/s'])->toJson())->closeInput();

        return [$command->exitCode(), $command->transcript];
    }

    /**
     * @param  array<array-key, mixed>  $apps
     * @return list<string>
     */
    private static function mistakes(array $apps): array
    {
        try {
            ServerConfig::from(['apps' => $apps, 'socket' => '/s']);
        } catch (InvalidConfiguration $e) {
            return $e->mistakes;
        }

        self::fail('expected InvalidConfiguration, found that the configuration was accepted');
    }
}
