<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use Fanfare\Laravel\Api\Channel;
use Fanfare\Laravel\Api\Member;
use Fanfare\Laravel\Exceptions\PayloadTooLarge;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Facades\Fanfare;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Laravel\Tests\Support\WebSocket;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Contracts\Broadcasting\Factory;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * The driver and the facade with the real server's HTTP API, over its Unix socket and its port. Clients are real
 * WebSocket connections.
 */
final class HttpApiTest extends TestCase
{
    use OwnDirectory;

    private TracedServer $server;

    protected function setUp(): void
    {
        $this->server = new TracedServer($this->socket);
    }

    protected function tearDown(): void
    {
        $this->server->stop();
    }

    /**
     * @param  'unix'|'url'  $way
     */
    #[DataProvider('ways')]
    public function test_h4_what_laravel_broadcasts_over_http_is_what_clients_receive(string $way): void
    {
        $this->boot($way);
        $client = $this->subscribed('news');
        $sender = $this->subscribed('news');
        $driver = app(Factory::class)->connection();

        $driver->broadcast(['news', 'private-orders.1'], 'App\\Events\\Said', ['text' => 'grüß Gott / 👋', 'socket' => $sender->socketId]);
        $driver->broadcast(['news'], 'second', []);

        self::assertSame(
            ['event' => 'App\\Events\\Said', 'channel' => 'news', 'data' => '{"text":"gr\u00fc\u00df Gott \/ \ud83d\udc4b"}'],
            $client->event(),
        );
        self::assertSame('second', $client->event()['event']);
        self::assertSame('second', $sender->event()['event'], 'the sender has not had the first');
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function ways(): iterable
    {
        yield 'over the Unix socket' => ['unix'];
        yield 'to the port' => ['url'];
    }

    /**
     * @return iterable<string, array{string}>
     */
    public static function waysOfQuestions(): iterable
    {
        yield from self::ways();
        yield 'by the extension' => ['extension'];
    }

    /**
     * @param  'unix'|'url'|'extension'  $way
     */
    #[DataProvider('waysOfQuestions')]
    public function test_h6_h7_h8_h10_who_is_there(string $way): void
    {
        $this->boot($way);

        self::assertSame(0, Fanfare::connections());
        self::assertSame([], Fanfare::channels());
        self::assertEquals(new Channel('news', false, Fanfare::channel('news')->subscriptionCount, null), Fanfare::channel('news'));
        self::assertSame([], Fanfare::members('presence-room'));

        $first = $this->subscribed('news');
        $second = $this->subscribed('presence-room', '{"user_id":"7","user_info":{"name":"Ada"}}');
        $third = $this->subscribed('presence-room', '{"user_id":"7","user_info":{"name":"Ada"}}');
        $fourth = $this->subscribed('presence-room', '{"user_id":"8"}');

        self::assertSame(4, Fanfare::connections());
        self::assertEqualsCanonicalizing(['news', 'presence-room'], array_keys(Fanfare::channels()));
        self::assertSame(['presence-room'], array_keys(Fanfare::channels('presence-')));
        self::assertSame(2, Fanfare::channels('presence-')['presence-room']->userCount);

        $room = Fanfare::channel('presence-room');
        self::assertSame([true, 3, 2], [$room->occupied, $room->subscriptionCount, $room->userCount]);
        self::assertEqualsCanonicalizing([new Member('7'), new Member('8')], Fanfare::members('presence-room'));

        foreach ([$first, $second, $third, $fourth] as $client) {
            $client->close();
        }
    }

    public function test_s9_h7_the_last_event_of_a_cache_channel(): void
    {
        $this->boot('unix');
        self::assertNull(Fanfare::channel('cache-prices')->cached);

        Fanfare::broadcast('cache-prices', 'Changed', ['price' => 5]);

        self::assertSame('{"price":5}', Fanfare::channel('cache-prices')->cached?->data);
        self::assertGreaterThan(0, Fanfare::channel('cache-prices')->cached?->ttlS);
    }

    public function test_h9_n4_a_signed_in_user_is_told_something_and_sent_away(): void
    {
        $this->boot('unix');
        $client = $this->signedIn('7');
        $other = $this->signedIn('8');

        Fanfare::toUser(7, 'Paid', ['total' => 1]);
        self::assertSame(['event' => 'Paid', 'channel' => '#server-to-user-7', 'data' => '{"total":1}'], $client->event());

        Fanfare::terminate(7);
        self::assertSame(4009, $client->closeCode());

        Fanfare::toUser(8, 'still there');
        self::assertSame('still there', $other->event()['event']);
    }

    public function test_a5_a_client_opens_what_is_sent_to_an_encrypted_channel(): void
    {
        $key = random_bytes(32);
        $this->boot('unix', ['fanfare.apps.0.encryption_master_key' => base64_encode($key)]);
        $client = $this->subscribed('private-encrypted-orders');

        Fanfare::broadcast(['private-encrypted-orders', 'news'], 'E', ['n' => 1]);

        $sealed = json_decode($client->event()['data'], true, flags: JSON_THROW_ON_ERROR);
        self::assertSame('{"n":1}', sodium_crypto_secretbox_open(
            (string) base64_decode($sealed['ciphertext'], true),
            (string) base64_decode($sealed['nonce'], true),
            hash('sha256', "private-encrypted-orders{$key}", true),
        ));
    }

    public function test_h11_what_the_server_does_not_like_is_laravels_exception_with_its_words(): void
    {
        $this->boot('unix');
        $driver = app(Factory::class)->connection();

        try {
            $driver->broadcast(['not ok'], 'E', []);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertInstanceOf(RequestRefused::class, $e->getPrevious());
            self::assertSame(400, $e->getPrevious()->status);
        }

        try {
            $driver->broadcast(['news'], 'E', ['text' => str_repeat('x', 300_000)]);
            self::fail('expected PayloadTooLarge, found that it was published');
        } catch (PayloadTooLarge $e) {
            self::assertStringContainsString('fanfare.server.limits.data_bytes_max', $e->getMessage());
        }

        $this->boot('unix', ['fanfare.apps.0.secret' => 'wrong-7d1c']);

        try {
            Fanfare::connections();
            self::fail('expected RequestRefused, found an answer');
        } catch (RequestRefused $e) {
            self::assertSame(401, $e->status);
            self::assertStringNotContainsString('wrong-7d1c', $e->getMessage());
        }
    }

    private function subscribed(string $channel, ?string $channelData = null): WebSocket
    {
        return $this->client()->subscribeSigned($channel, $channelData);
    }

    private function signedIn(string $id): WebSocket
    {
        return $this->client()->signIn($id)->subscribe("#server-to-user-{$id}");
    }

    private function client(): WebSocket
    {
        return new WebSocket($this->server->url.'/app/'.ChatApplication::KEY.'?protocol=7');
    }

    /**
     * @param  'extension'|'unix'|'url'  $way
     * @param  array<string, mixed>  $config
     */
    private function boot(string $way, array $config = []): void
    {
        $this->booted([
            'transport' => $way === 'extension' ? 'auto' : 'http',
            'fallback' => $way === 'extension' ? 'none' : $way,
            'url' => $this->server->url,
        ], $config);
    }
}
