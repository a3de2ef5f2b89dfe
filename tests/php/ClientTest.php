<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use Fanfare\Laravel\Api\CachedEvent;
use Fanfare\Laravel\Api\Channel;
use Fanfare\Laravel\Api\Member;
use Fanfare\Laravel\Client;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\InvalidName;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use Fanfare\Laravel\Facades\Fanfare;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Illuminate\Broadcasting\PrivateChannel;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * The facade's questions and what becomes of answers. A listener answers as Pusher's document says; whether the
 * server does is tested in HttpApiTest.
 */
final class ClientTest extends TestCase
{
    use OwnDirectory;

    private PretendApi $api;

    protected function setUp(): void
    {
        $this->api = new PretendApi($this->socket);
        $this->booted(['transport' => 'http']);
    }

    public function test_h6_channels_by_prefix(): void
    {
        $this->api->willAnswer(['channels' => ['presence-a' => ['user_count' => 2, 'subscription_count' => 3], 'presence-b' => (object) []]]);

        self::assertEquals(
            ['presence-a' => new Channel('presence-a', true, 3, 2), 'presence-b' => new Channel('presence-b', true, null, null)],
            Fanfare::channels('presence-'),
        );

        $request = $this->api->request();
        self::assertSame(['GET', '/apps/test/channels'], [$request['method'], $request['path']]);
        self::assertSame('presence-', $request['query']['filter_by_prefix']);
        self::assertSame('user_count,subscription_count', $request['query']['info']);
    }

    public function test_h6_all_channels_without_a_count_that_only_presence_channels_have(): void
    {
        $this->api->willAnswer('{"channels":{"7":{"subscription_count":1}}}')->willAnswer('{"channels":{}}');

        self::assertEquals(['7' => new Channel('7', true, 1, null)], Fanfare::channels());
        self::assertSame([], Fanfare::channels());

        $request = $this->api->request();
        self::assertSame('subscription_count', $request['query']['info']);
        self::assertArrayNotHasKey('filter_by_prefix', $request['query']);
    }

    /**
     * @param  array<string, mixed>  $answer
     */
    #[DataProvider('channels')]
    public function test_h7_a_channel(string $name, string $info, array $answer, Channel $channel): void
    {
        $this->api->willAnswer($answer);

        self::assertEquals($channel, Fanfare::channel($name));

        $request = $this->api->request();
        self::assertSame("/apps/test/channels/{$name}", $request['path']);
        self::assertSame($info, $request['query']['info']);
    }

    /**
     * @return iterable<string, array{string, string, array<string, mixed>, Channel}>
     */
    public static function channels(): iterable
    {
        yield 'public' => ['news', 'subscription_count', ['occupied' => true, 'subscription_count' => 5], new Channel('news', true, 5, null)];
        yield 'vacant' => ['news', 'subscription_count', ['occupied' => false], new Channel('news', false, null, null)];
        yield 'presence' => ['presence-a', 'subscription_count,user_count', ['occupied' => true, 'subscription_count' => 3, 'user_count' => 2], new Channel('presence-a', true, 3, 2)];
        yield 'cache' => ['private-cache-a', 'subscription_count,cache', ['occupied' => false, 'cache' => ['data' => '{"n":1}', 'ttl' => 60]], new Channel('private-cache-a', false, null, null, new CachedEvent('{"n":1}', 60))];
        yield 'cache with nothing in it' => ['cache-a', 'subscription_count,cache', ['occupied' => false, 'cache' => null], new Channel('cache-a', false, null, null)];
        yield 'presence with a cache' => ['presence-cache-a', 'subscription_count,user_count,cache', ['occupied' => false], new Channel('presence-cache-a', false, null, null)];
        yield 'every character of names' => ['A_-=@,.;9', 'subscription_count', ['occupied' => false], new Channel('A_-=@,.;9', false, null, null)];
    }

    public function test_h8_members(): void
    {
        $this->api->willAnswer(['users' => [['id' => '1'], ['id' => 2]]])->willAnswer(['users' => []]);

        self::assertEquals([new Member('1'), new Member('2')], Fanfare::members('presence-room'));
        self::assertSame([], Fanfare::members('presence-room'));
        self::assertSame('/apps/test/channels/presence-room/users', $this->api->request()['path']);
    }

    public function test_h10_connections(): void
    {
        $this->api->willAnswer(['connections' => 12]);

        self::assertSame(12, Fanfare::connections());
        self::assertSame('/apps/test/connections', $this->api->request()['path']);
    }

    public function test_h9_a_user_is_sent_away(): void
    {
        Fanfare::terminate(42);
        Fanfare::terminate('a b/c');

        $request = $this->api->request();
        self::assertSame(['POST', '/apps/test/users/42/terminate_connections', []], [$request['method'], $request['path'], $request['body']]);
        self::assertSame('/apps/test/users/a%20b%2Fc/terminate_connections', $this->api->request()['path']);
    }

    public function test_n4_to_a_user(): void
    {
        Fanfare::toUser(42, 'Paid', ['total' => 1]);

        self::assertSame(
            ['name' => 'Paid', 'data' => '{"total":1}', 'channel' => '#server-to-user-42'],
            $this->api->request()['body'],
        );
    }

    public function test_broadcasts_without_event_objects(): void
    {
        Fanfare::broadcast('news', 'E', ['n' => 1], '1.2');
        Fanfare::broadcast(new PrivateChannel('orders.1'), 'E', 'text');
        Fanfare::broadcast((static function (): iterable {
            yield 'a';
            yield new PrivateChannel('b');
        })(), 'E');

        self::assertSame(['name' => 'E', 'data' => '{"n":1}', 'channel' => 'news', 'socket_id' => '1.2'], $this->api->request()['body']);
        self::assertSame(['name' => 'E', 'data' => '"text"', 'channel' => 'private-orders.1'], $this->api->request()['body']);
        self::assertSame(['name' => 'E', 'data' => '[]', 'channels' => ['a', 'private-b']], $this->api->request()['body']);
    }

    public function test_another_app_is_asked_and_published_to_with_its_own_credentials(): void
    {
        $other = new PretendApi($this->scratch->path('other.sock'), ['other-key' => 'other-secret-77']);
        $this->booted(['transport' => 'http'], [
            'fanfare.socket' => $this->scratch->path('other.sock'),
            'fanfare.apps' => [
                ['id' => 'test', 'key' => ChatApplication::KEY, 'secret' => ChatApplication::SECRET],
                ['id' => 'other', 'key' => 'other-key', 'secret' => 'other-secret-77'],
            ],
        ]);
        $other->willAnswer(['connections' => 3]);

        self::assertSame(3, Fanfare::app('other')->connections());
        $request = $other->request();
        self::assertSame(['/apps/other/connections', 'other-key'], [$request['path'], $request['query']['auth_key']]);

        Fanfare::app('other')->broadcast('news', 'E');
        self::assertSame('/apps/other/events', $other->request()['path']);

        $this->expectException(InvalidConfiguration::class);
        $this->expectExceptionMessage('expected the id of an app in fanfare.apps (test, other), found "nobody"');
        Fanfare::app('nobody')->connections();
    }

    public function test_the_client_is_of_the_default_connection(): void
    {
        $this->booted(['transport' => 'http'], [
            'broadcasting.default' => 'shop',
            'broadcasting.connections.shop' => ['driver' => 'fanfare', 'app' => 'other'],
            'fanfare.apps' => [
                ['id' => 'test', 'key' => 'k', 'secret' => 's'],
                ['id' => 'other', 'key' => ChatApplication::KEY, 'secret' => ChatApplication::SECRET],
            ],
        ]);

        Fanfare::terminate('1');

        self::assertSame('/apps/other/users/1/terminate_connections', $this->api->request()['path']);
    }

    /**
     * @param  callable(Client): mixed  $question
     */
    #[DataProvider('impossible')]
    public function test_names_that_there_cannot_be_are_refused_before_anybody_is_asked(callable $question, string $words): void
    {
        try {
            $question(app(Client::class));
            self::fail('expected InvalidName, found that it was asked');
        } catch (InvalidName $e) {
            self::assertStringContainsString($words, $e->getMessage());
        }

        self::assertSame(0, $this->api->end());
    }

    /**
     * @return iterable<string, array{callable(Client): mixed, string}>
     */
    public static function impossible(): iterable
    {
        yield 'a channel' => [static fn (Client $client): Channel => $client->channel('no/../channel'), 'found "no/../channel"'];
        yield 'no channel' => [static fn (Client $client): Channel => $client->channel(''), 'found an empty string'];
        yield 'a long channel' => [static fn (Client $client): Channel => $client->channel(str_repeat('x', 201)), '1 to 200 of'];
        yield 'members of a public channel' => [static fn (Client $client): array => $client->members('news'), 'expected the name of a presence channel'];
        yield 'a user' => [static fn (Client $client) => $client->toUser('a b', 'E'), 'expected the id of a user'];
        yield 'no user' => [static fn (Client $client) => $client->terminate(''), 'found an empty string'];
    }

    public function test_an_answer_that_lacks_what_was_asked_for_is_unexpected(): void
    {
        $this->api->willAnswer(['connections' => '3']);

        $this->expectException(UnexpectedAnswer::class);
        $this->expectExceptionMessage('expected a whole number in its field "connections" in answer to GET /apps/test/connections at the socket');

        Fanfare::connections();
    }

    public function test_a_refusal_is_an_exception(): void
    {
        $this->api->willAnswer(['error' => ['code' => 'x', 'message' => 'expected less']], 400);

        $this->expectException(RequestRefused::class);
        $this->expectExceptionMessage('but found 400: expected less');

        Fanfare::channels();
    }

    public function test_a_question_goes_to_the_url_when_nobody_is_at_the_socket(): void
    {
        $url = (new PretendApi)->willAnswer(['connections' => 5]);
        $this->booted(['url' => $url->url()], ['fanfare.socket' => $this->scratch->path('nobody.sock')]);

        self::assertSame(5, Fanfare::connections());
    }

    public function test_a_question_may_be_asked_again_but_nobody_is_sent_away_twice(): void
    {
        $url = (new PretendApi)->willAnswer(['connections' => 5]);
        $this->api->willAnswer([], hang: true);
        $this->booted(['url' => $url->url(), 'http_timeout_ms' => 200]);

        self::assertSame(5, Fanfare::connections());

        try {
            Fanfare::terminate('1');
            self::fail('expected ApiUnreachable, found an answer');
        } catch (ApiUnreachable $e) {
            self::assertTrue($e->mayHaveArrived);
        }

        self::assertSame(1, $url->end());
    }

    public function test_questions_are_asked_at_the_socket_even_where_broadcasts_go_through_the_extension_alone(): void
    {
        $this->booted(['fallback' => 'none']);
        $this->api->willAnswer(['connections' => 1]);

        self::assertSame(1, Fanfare::connections());
    }
}
