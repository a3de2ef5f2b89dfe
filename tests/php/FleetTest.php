<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests;

use Fanfare\Laravel\Api\Member;
use Fanfare\Laravel\Facades\Fanfare;
use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\Scratch;
use Fanfare\Laravel\Tests\Support\WebSocket;
use Illuminate\Contracts\Broadcasting\Factory;
use PHPUnit\Framework\TestCase;

/**
 * Two servers, each started by `fanfare:start`, with one Redis; PHP beside one of them, beside the other, and beside none.
 */
final class FleetTest extends TestCase
{
    use OwnDirectory;

    private Scratch $other;

    private RunningRedis $redis;

    /** PHP's, with the socket of the test. */
    private RunningServer $a;

    private RunningServer $b;

    protected function setUp(): void
    {
        $this->redis = new RunningRedis($this->scratch);
        $this->other = new Scratch;
        $env = ['FANFARE_REDIS_CONNECTION' => 'default', 'REDIS_HOST' => $this->redis->socket, 'REDIS_PORT' => '0'];
        $this->a = new RunningServer($this->scratch, $env);
        $this->b = new RunningServer($this->other, $env);

        foreach ([$this->socket, $this->other->path('fanfare.sock')] as $socket) {
            Patience::until('both servers to hear each other', static fn (): bool => (new Inspector($socket))->status()->metric('fleet_nodes') === 2);
        }
    }

    protected function tearDown(): void
    {
        $this->a->stop();
        $this->b->stop();
        $this->redis->stop();
        $this->other->remove();
    }

    public function test_what_php_broadcasts_beside_one_server_arrives_at_clients_of_the_other(): void
    {
        $this->booted();
        [$here, $there, $sender] = [$this->subscribed($this->a, 'news'), $this->subscribed($this->b, 'news'), $this->subscribed($this->b, 'news')];
        $driver = app(Factory::class)->connection();

        // As toOthers() makes it: the sender is a client of the other server.
        $driver->broadcast(['news'], 'first', ['text' => 'grüß Gott 👋', 'socket' => $sender->socketId]);
        $driver->broadcast(['news'], 'second', []);

        foreach ([$here, $there] as $client) {
            self::assertSame(['event' => 'first', 'channel' => 'news', 'data' => '{"text":"gr\u00fc\u00df Gott \ud83d\udc4b"}'], $client->event());
            self::assertSame('second', $client->event()['event']);
        }

        self::assertSame('second', $sender->event()['event'], 'the sender has not had the first');
    }

    public function test_both_servers_answer_for_the_fleet(): void
    {
        $first = $this->subscribed($this->a, 'presence-room', '{"user_id":"7"}');
        $second = $this->subscribed($this->b, 'presence-room', '{"user_id":"8"}');
        $third = $this->subscribed($this->b, 'news');

        foreach ([$this->socket, $this->other->path('fanfare.sock')] as $socket) {
            $this->booted(config: ['fanfare.socket' => $socket]);

            // What a server is told of others may be on its way for a moment.
            Patience::until('all members', static fn (): bool => count(Fanfare::members('presence-room')) === 2);
            self::assertEqualsCanonicalizing([new Member('7'), new Member('8')], Fanfare::members('presence-room'));
            self::assertSame(3, Fanfare::connections());
            self::assertEqualsCanonicalizing(['news', 'presence-room'], array_keys(Fanfare::channels()));
            self::assertSame([2, 2], [Fanfare::channel('presence-room')->userCount, Fanfare::channel('presence-room')->subscriptionCount]);
        }

        array_map(static fn (WebSocket $client) => $client->close(), [$first, $second, $third]);
    }

    public function test_a_user_of_the_other_server_is_told_something_and_sent_away(): void
    {
        $this->booted();
        $client = $this->signedIn($this->b, '7');

        Fanfare::toUser(7, 'Paid', ['total' => 1]);
        self::assertSame(['event' => 'Paid', 'channel' => '#server-to-user-7', 'data' => '{"total":1}'], $client->event());

        Fanfare::terminate(7);
        self::assertSame(4009, $client->closeCode());
    }

    public function test_a_host_without_a_server_publishes_over_http_to_any(): void
    {
        $client = $this->subscribed($this->b, 'news');

        foreach (['with the extension' => 'auto', 'without it' => 'http'] as $transport) {
            $this->booted(
                ['transport' => $transport, 'fallback' => 'url', 'url' => "http://127.0.0.1:{$this->a->port}"],
                ['fanfare.socket' => $this->scratch->path('nobody.sock')],
            );
            Fanfare::broadcast('news', "by {$transport}");
            self::assertSame("by {$transport}", $client->event()['event']);
        }
    }

    private function subscribed(RunningServer $server, string $channel, ?string $channelData = null): WebSocket
    {
        return $this->client($server)->subscribeSigned($channel, $channelData);
    }

    private function signedIn(RunningServer $server, string $id): WebSocket
    {
        return $this->client($server)->signIn($id)->subscribe("#server-to-user-{$id}");
    }

    private function client(RunningServer $server): WebSocket
    {
        return new WebSocket("http://127.0.0.1:{$server->port}/app/".ChatApplication::KEY.'?protocol=7');
    }
}
