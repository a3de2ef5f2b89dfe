<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Broadcasting\FanfareBroadcaster;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\PayloadTooLarge;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Publishing\Outlet;
use Fanfare\Laravel\Tests\Support\RecordedPublications;
use Fanfare\TooLarge;
use Fanfare\Unavailable;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\EncryptedPrivateChannel;
use Illuminate\Broadcasting\PresenceChannel;
use Illuminate\Broadcasting\PrivateChannel;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use Throwable;

/**
 * What lies between Laravel and a publication; what becomes of publications is tested elsewhere.
 */
final class FanfareBroadcasterTest extends TestCase
{
    private const string MASTER_KEY = '0123456789abcdef0123456789abcdef';

    private RecordedPublications $publications;

    protected function setUp(): void
    {
        $this->publications = new RecordedPublications;
    }

    public function test_the_excluded_socket_comes_out_of_the_payload(): void
    {
        $this->broadcaster()->broadcast(['chat'], 'Said', ['text' => 'hi', 'socket' => '12.34']);

        self::assertSame(
            [['channels' => ['chat'], 'event' => 'Said', 'data' => '{"text":"hi"}', 'except' => '12.34']],
            $this->publications->all,
        );
    }

    public function test_without_a_socket_nobody_is_excluded(): void
    {
        $this->broadcaster()->broadcast(['chat'], 'Said', ['text' => 'hi', 'socket' => null]);
        $this->broadcaster()->broadcast(['chat'], 'Said', ['text' => 'hi']);

        foreach ($this->publications->all as $publication) {
            self::assertNull($publication['except']);
            self::assertSame('{"text":"hi"}', $publication['data']);
        }

        self::assertCount(2, $this->publications->all);
    }

    /**
     * It comes from a header that any client may send.
     */
    public function test_what_is_no_socket_id_excludes_nobody_and_keeps_the_event_from_nobody(): void
    {
        foreach (['undefined', "1.2\n", '', 1.2, ['1.2'], '1.'.str_repeat('2', 20)] as $claimed) {
            $this->broadcaster()->broadcast(['chat'], 'Said', ['text' => 'hi', 'socket' => $claimed]);
        }

        self::assertCount(6, $this->publications->all);

        foreach ($this->publications->all as $publication) {
            self::assertNull($publication['except']);
            self::assertSame('{"text":"hi"}', $publication['data']);
        }
    }

    public function test_channel_objects_become_their_names(): void
    {
        $this->broadcaster()->broadcast(
            ['a' => new Channel('news'), 'b' => new PrivateChannel('orders.1'), 'c' => new PresenceChannel('room')],
            'E',
        );

        self::assertSame(['news', 'private-orders.1', 'presence-room'], $this->publications->all[0]['channels']);
    }

    /**
     * Byte for byte what Pusher's PHP SDK would send, so that replacing it changes nothing for clients.
     *
     * @param  array<array-key, mixed>  $payload
     */
    #[DataProvider('payloads')]
    public function test_payloads_are_encoded_as_pusher_does(array $payload, string $data): void
    {
        $this->broadcaster()->broadcast(['c'], 'E', $payload);

        self::assertSame($data, $this->publications->all[0]['data']);
    }

    /**
     * @return iterable<string, array{array<array-key, mixed>, string}>
     */
    public static function payloads(): iterable
    {
        yield 'empty' => [[], '[]'];
        yield 'slashes and unicode' => [['u' => 'https://é.example/👋'], '{"u":"https:\/\/\u00e9.example\/\ud83d\udc4b"}'];
        yield 'whole floats' => [['n' => 10.0, 'm' => 0.1], '{"n":10,"m":0.1}'];
        yield 'nested' => [['a' => ['b' => [1, null, true]], 'o' => (object) []], '{"a":{"b":[1,null,true]},"o":{}}'];
        yield 'a list' => [['x', 'y'], '["x","y"]'];
    }

    public function test_more_than_100_channels_become_several_publications_with_the_same_data(): void
    {
        $channels = array_map(static fn (int $n): Channel => new Channel("c{$n}"), range(1, 250));

        $this->broadcaster()->broadcast($channels, 'E', ['x' => 1, 'socket' => '1.1']);

        self::assertSame([100, 100, 50], array_map(static fn (array $p): int => count($p['channels']), $this->publications->all));
        self::assertSame(
            array_map(strval(...), $channels),
            array_merge(...array_column($this->publications->all, 'channels')),
        );
        self::assertSame(['{"x":1}'], array_values(array_unique(array_column($this->publications->all, 'data'))));
        self::assertSame(['1.1'], array_values(array_unique(array_column($this->publications->all, 'except'))));
    }

    public function test_exactly_100_channels_are_one_publication_and_none_is_none(): void
    {
        $this->broadcaster()->broadcast(array_map(static fn (int $n): string => "c{$n}", range(1, 100)), 'E');
        $this->broadcaster()->broadcast([], 'E');

        self::assertCount(1, $this->publications->all);
    }

    /**
     * @param  array<array-key, mixed>  $channels
     * @param  array<array-key, mixed>  $payload
     */
    #[DataProvider('refused')]
    public function test_what_no_client_could_receive_is_refused_and_nothing_is_published(array $channels, array $payload, string $words): void
    {
        try {
            $this->broadcaster()->broadcast($channels, 'E', $payload);
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertStringStartsWith('Broadcasting [E]: expected ', $e->getMessage());
            self::assertStringContainsString($words, $e->getMessage());
        }

        self::assertSame([], $this->publications->all);
    }

    /**
     * @return iterable<string, array{array<array-key, mixed>, array<array-key, mixed>, string}>
     */
    public static function refused(): iterable
    {
        yield 'bytes that are not UTF-8' => [['c'], ['text' => "\xff"], 'found: Malformed UTF-8'];
    }

    /**
     * Each encrypted channel has its own key, so that one sealed text cannot be for two of them.
     */
    public function test_h12_encrypted_channels_are_split_from_the_others_and_from_each_other(): void
    {
        $this->broadcaster()->broadcast(
            [new EncryptedPrivateChannel('a'), 'news', new EncryptedPrivateChannel('cache-b'), new PrivateChannel('c')],
            'E',
            ['text' => 'grüße', 'socket' => '1.2'],
        );

        self::assertSame(
            [['news', 'private-c'], ['private-encrypted-a'], ['private-encrypted-cache-b']],
            array_column($this->publications->all, 'channels'),
        );
        self::assertSame(['1.2', '1.2', '1.2'], array_column($this->publications->all, 'except'));

        [$open, $a, $b] = array_column($this->publications->all, 'data');
        self::assertSame('{"text":"gr\u00fc\u00dfe"}', $open);
        self::assertSame($open, self::opened('private-encrypted-a', $a));
        self::assertSame($open, self::opened('private-encrypted-cache-b', $b));
        self::assertFalse(self::opened('private-encrypted-cache-b', $a), 'each has its own key');
    }

    public function test_h12_an_encrypted_channel_alone_is_one_publication(): void
    {
        $this->broadcaster()->broadcast([new EncryptedPrivateChannel('a')], 'E', ['n' => 1]);

        self::assertCount(1, $this->publications->all);
        self::assertSame('{"n":1}', self::opened('private-encrypted-a', $this->publications->all[0]['data']));
    }

    public function test_more_than_100_channels_with_encrypted_ones_among_them(): void
    {
        $channels = array_map(static fn (int $n): string => $n % 50 === 0 ? "private-encrypted-{$n}" : "c{$n}", range(1, 210));

        $this->broadcaster()->broadcast($channels, 'E', []);

        self::assertSame([100, 100, 6, 1, 1, 1, 1], array_map(static fn (array $p): int => count($p['channels']), $this->publications->all));
        self::assertEqualsCanonicalizing($channels, array_merge(...array_column($this->publications->all, 'channels')));
    }

    public function test_without_a_master_key_nothing_leaves_and_the_exception_says_how_to_make_one(): void
    {
        try {
            $this->broadcaster(null)->broadcast(['news', 'private-encrypted-a'], 'E', []);
            self::fail('expected InvalidConfiguration, found that it was published');
        } catch (InvalidConfiguration $e) {
            self::assertSame(
                ['fanfare.apps.*.encryption_master_key: expected 32 bytes in base64 for the encrypted channels of the app "a", found nothing; set FANFARE_ENCRYPTION_MASTER_KEY to what `openssl rand -base64 32` says'],
                $e->mistakes,
            );
        }

        self::assertSame([], $this->publications->all);
    }

    #[DataProvider('tooLarge')]
    public function test_a_payload_that_is_too_large_names_the_limits(Throwable $failure, string $words): void
    {
        $this->publications = new RecordedPublications(0, $failure);

        try {
            $this->broadcaster()->broadcast(['chat'], 'E', ['text' => 'hi']);
            self::fail('expected PayloadTooLarge, found that it was published');
        } catch (PayloadTooLarge $e) {
            self::assertInstanceOf(BroadcastException::class, $e);
            self::assertSame($failure, $e->getPrevious());
            self::assertStringStartsWith("Broadcasting [E] to 1 channel(s) failed, with data of 13 bytes: {$words}", $e->getMessage());
            self::assertStringContainsString('fanfare.server.limits.data_bytes_max', $e->getMessage());
            self::assertStringContainsString('half of fanfare.publish.ring_bytes (now 1048576)', $e->getMessage());
        }
    }

    /**
     * @return iterable<string, array{Throwable, string}>
     */
    public static function tooLarge(): iterable
    {
        yield 'for the extension' => [new TooLarge('expected data of at most 5 bytes, but found 13 bytes'), 'expected data of at most 5 bytes'];
        yield 'for the HTTP API' => [RequestRefused::with(413, '{"error":{"message":"expected at most 5"}}', 'POST /x'), 'expected status 200 for POST /x, but found 413: expected at most 5'];
    }

    public function test_names_may_have_200_bytes(): void
    {
        $name = str_repeat('n', 200);

        $this->broadcaster()->broadcast([$name], $name);

        self::assertSame([$name], $this->publications->all[0]['channels']);
        self::assertSame($name, $this->publications->all[0]['event']);
    }

    public function test_a_failed_publication_is_laravels_exception_and_says_what_was_delivered_before(): void
    {
        $failure = new Unavailable('expected a server at /s, found nothing');
        $this->publications = new RecordedPublications(1, $failure);
        $channels = array_map(static fn (int $n): string => "c{$n}", range(1, 150));

        try {
            $this->broadcaster()->broadcast($channels, 'E');
            self::fail('expected BroadcastException, found that it was published');
        } catch (BroadcastException $e) {
            self::assertSame($failure, $e->getPrevious());
            self::assertSame(
                'Broadcasting [E] to 150 channel(s), of which 100 have it, failed: expected a server at /s, found nothing',
                $e->getMessage(),
            );
        }
    }

    private function broadcaster(?string $masterKey = self::MASTER_KEY): FanfareBroadcaster
    {
        $app = ['id' => 'a', 'key' => 'k', 'secret' => 's', 'encryption_master_key' => $masterKey === null ? null : base64_encode($masterKey)];
        $config = new ConnectionConfig(static fn (): array => ['apps' => [$app], 'socket' => '/s'], []);

        return new FanfareBroadcaster(new Outlet($this->publications, $config), $config);
    }

    private static function opened(string $channel, string $data): string|false
    {
        $sealed = json_decode($data, true, flags: JSON_THROW_ON_ERROR);

        return sodium_crypto_secretbox_open(
            (string) base64_decode($sealed['ciphertext'], true),
            (string) base64_decode($sealed['nonce'], true),
            hash('sha256', $channel.self::MASTER_KEY, true),
        );
    }
}
