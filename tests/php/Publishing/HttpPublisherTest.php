<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\HttpTransport;
use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\ApiFailed;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use Fanfare\Laravel\Publishing\HttpPublisher;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * Requests that leave this process over real sockets; the listener refuses what is not signed.
 */
final class HttpPublisherTest extends TestCase
{
    use OwnDirectory;

    #[DataProvider('ways')]
    public function test_h4_a_publication_is_a_signed_request(ApiWay $way): void
    {
        $api = new PretendApi($way === ApiWay::Unix ? $this->socket : null);
        $publisher = $this->publisher($way, ['url' => $way === ApiWay::Url ? $api->url() : null]);

        $publisher->publish(['news'], 'App\\Events\\Said', '{"text":"gr\u00fc\u00dfe / 👋"}', null);
        $publisher->publish(['a', 'private-b'], 'E', '"x"', '12.34');

        $first = $api->request();
        self::assertSame(['POST', '/apps/test/events'], [$first['method'], $first['path']]);
        self::assertSame(['name' => 'App\\Events\\Said', 'data' => '{"text":"gr\u00fc\u00dfe / 👋"}', 'channel' => 'news'], $first['body']);
        self::assertSame('application/json', $first['headers']['content-type']);

        $second = $api->request();
        self::assertSame(['name' => 'E', 'data' => '"x"', 'channels' => ['a', 'private-b'], 'socket_id' => '12.34'], $second['body']);
        self::assertSame($first['connection'], $second['connection'], 'the connection is kept');
        self::assertSame(2, $api->end());
    }

    /**
     * @return iterable<string, array{ApiWay}>
     */
    public static function ways(): iterable
    {
        yield 'over the Unix socket' => [ApiWay::Unix];
        yield 'to a URL' => [ApiWay::Url];
    }

    public function test_h3_a_prefix_of_the_url_is_not_signed(): void
    {
        $api = new PretendApi;

        $this->publisher(ApiWay::Url, ['url' => $api->url().'/ws/'])->publish(['news'], 'E', '{}', null);

        self::assertSame('/ws/apps/test/events', $api->request()['path']);
    }

    public function test_a_body_of_any_size_is_sent_without_asking_first(): void
    {
        $api = new PretendApi;
        $data = json_encode(str_repeat('x', 2_000_000), JSON_THROW_ON_ERROR);

        $this->publisher(ApiWay::Url, ['url' => $api->url()])->publish(['news'], 'E', $data, null);

        $request = $api->request();
        self::assertSame(md5((string) json_encode(['name' => 'E', 'data' => $data, 'channel' => 'news'])), $request['body']['md5']);
        self::assertArrayNotHasKey('expect', $request['headers']);
    }

    public function test_a_connection_that_the_server_has_closed_is_made_anew(): void
    {
        $api = (new PretendApi($this->socket))->willAnswer([], close: true)->willAnswer([]);
        $publisher = $this->publisher(ApiWay::Unix);

        $publisher->publish(['news'], 'first', '{}', null);
        $publisher->publish(['news'], 'second', '{}', null);

        self::assertSame('first', $api->request()['body']['name']);
        self::assertSame('second', $api->request()['body']['name']);
        self::assertSame(2, $api->end());
    }

    public function test_a_proxy_of_the_environment_is_not_asked_for_a_socket(): void
    {
        $api = new PretendApi($this->socket);

        // libcurl reads this in small letters alone.
        putenv('http_proxy=http://127.0.0.1:1');

        try {
            $this->publisher(ApiWay::Unix)->publish(['news'], 'E', '{}', null);
        } finally {
            putenv('http_proxy');
        }

        self::assertSame('E', $api->request()['body']['name']);
    }

    /**
     * @param  array<string, mixed>|string  $body
     * @param  list<string>  $words
     */
    #[DataProvider('refusals')]
    public function test_h11_a_refusal_is_typed_and_has_the_servers_words(int $status, array|string $body, array $words): void
    {
        $api = (new PretendApi)->willAnswer($body, $status);

        try {
            $this->publisher(ApiWay::Url, ['url' => $api->url()])->publish(['news'], 'E', '{}', null);
            self::fail('expected RequestRefused, found that it was published');
        } catch (RequestRefused $e) {
            self::assertSame($status, $e->status);
            self::assertStringStartsWith("expected status 200 for POST /apps/test/events at {$api->url()}, but found {$status}: ", $e->getMessage());

            foreach ($words as $each) {
                self::assertStringContainsString($each, $e->getMessage());
            }

            self::assertStringNotContainsString(ChatApplication::SECRET, $e->getMessage());
        }
    }

    /**
     * @return iterable<string, array{int, array<string, mixed>|string, list<string>}>
     */
    public static function refusals(): iterable
    {
        $error = static fn (string $message): array => ['error' => ['code' => 'x', 'message' => $message]];

        yield '400' => [400, $error('expected a channel'), ['400: expected a channel']];
        yield '401' => [401, $error('no'), ['compare id, key and secret', 'clocks']];
        yield '403' => [403, $error('no'), ['disabled or over its quota']];
        yield '404' => [404, $error('no app'), ['404: no app', 'has an app of this id']];
        yield '413' => [413, $error('at most 10 bytes'), ['at most 10 bytes', 'send less']];
        yield '429' => [429, $error('no'), ['fewer requests']];
        yield '500 as Pusher says it' => [500, "Internal\nError", ['"Internal\nError"']];
        yield '503 without words' => [503, '', ['an empty body', 'log of the server']];
        yield '302' => [302, '', ['found 302']];
        yield 'bytes that are not text' => [502, base64_encode("\xff\xfe"), ['502']];
    }

    #[DataProvider('answers')]
    public function test_an_answer_that_is_no_json_object_is_unexpected(string $body, string $found): void
    {
        $api = (new PretendApi)->willAnswer($body);

        $this->expectException(UnexpectedAnswer::class);
        $this->expectExceptionMessage($found);

        $this->publisher(ApiWay::Url, ['url' => $api->url()])->publish(['news'], 'E', '{}', null);
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public static function answers(): iterable
    {
        yield 'a page' => ['<html>', 'but found Syntax error in "<html>"; see whether this is the address of a Fanfare server'];
        yield 'nothing' => ['', 'in an empty body'];
        yield 'a list' => ['[]', 'found "[]"'];
        yield 'text' => ['"ok"', 'expected a JSON object'];
    }

    public function test_nobody_at_the_socket_is_told_with_the_remedy(): void
    {
        $e = $this->failure($this->publisher(ApiWay::Unix));

        self::assertInstanceOf(ApiUnreachable::class, $e);
        self::assertFalse($e->mayHaveArrived);
        self::assertStringContainsString("at the socket {$this->socket}", $e->getMessage());
        self::assertStringContainsString('php artisan fanfare:start', $e->getMessage());
    }

    public function test_nobody_at_the_url_is_told_with_the_remedy(): void
    {
        $e = $this->failure($this->publisher(ApiWay::Url, ['url' => 'http://127.0.0.1:1']));

        self::assertInstanceOf(ApiUnreachable::class, $e);
        self::assertFalse($e->mayHaveArrived);
        self::assertStringContainsString('correct FANFARE_API_URL', $e->getMessage());
    }

    public function test_a_server_that_falls_silent_is_given_up_and_may_have_published(): void
    {
        $api = (new PretendApi)->willAnswer([], hang: true);

        $e = $this->failure($this->publisher(ApiWay::Url, ['url' => $api->url(), 'http_timeout_ms' => 100]));

        self::assertInstanceOf(ApiUnreachable::class, $e);
        self::assertTrue($e->mayHaveArrived);
        self::assertStringContainsString('within 100 ms', $e->getMessage());
        self::assertStringContainsString('may have been carried out', $e->getMessage());
        self::assertSame('E', $api->request()['body']['name']);
    }

    public function test_after_a_fork_parent_and_child_each_have_their_own_connection(): void
    {
        $api = new PretendApi($this->socket);
        $script = $this->scratch->file('fork.php', sprintf(<<<'PHP'
            <?php
            require %s;
            $config = new Fanfare\Laravel\Config\ConnectionConfig(static fn () => %s, []);
            $publisher = new Fanfare\Laravel\Publishing\HttpPublisher(new Fanfare\Laravel\Api\HttpTransport(
                $config, Fanfare\Laravel\Config\ApiWay::Unix, new Fanfare\Laravel\Api\Connections));
            $publisher->publish(['news'], 'before', '{}', null);
            $child = pcntl_fork();
            if ($child === 0) {
                $publisher->publish(['news'], 'child', '{}', null);
                exit(0);
            }
            pcntl_waitpid($child, $status);
            $publisher->publish(['news'], 'after', '{}', null);
            exit($status);
            PHP, var_export(dirname(__DIR__).'/bootstrap.php', true), var_export($this->fanfare([]), true)));

        $command = new RunningCommand([PHP_BINARY, $script]);
        self::assertSame(0, $command->exitCode(), $command->transcript);

        $connections = [];

        foreach (range(1, 3) as $_) {
            $request = $api->request();
            $connections[$request['body']['name']] = $request['connection'];
        }

        self::assertSame(['before', 'child', 'after'], array_keys($connections));
        self::assertSame($connections['before'], $connections['after']);
        self::assertNotSame($connections['before'], $connections['child']);
        self::assertSame(3, $api->end());
    }

    private function failure(HttpPublisher $publisher): ApiFailed
    {
        try {
            $publisher->publish(['news'], 'E', '{}', null);
        } catch (ApiFailed $e) {
            return $e;
        }

        self::fail('expected a failure, found that it was published');
    }

    /**
     * @param  array<string, mixed>  $publish
     */
    private function publisher(ApiWay $way, array $publish = []): HttpPublisher
    {
        $config = new ConnectionConfig(fn (): array => $this->fanfare($publish), []);

        return new HttpPublisher(new HttpTransport($config, $way, new Connections));
    }

    /**
     * @param  array<string, mixed>  $publish
     * @return array<string, mixed>
     */
    private function fanfare(array $publish): array
    {
        return [
            'apps' => [['id' => 'test', 'key' => ChatApplication::KEY, 'secret' => ChatApplication::SECRET]],
            'socket' => $this->socket,
            'publish' => self::patient($publish),
        ];
    }
}
