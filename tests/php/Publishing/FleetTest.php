<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Laravel\Tests\Support\WebSocket;
use Illuminate\Contracts\Broadcasting\Factory;
use PHPUnit\Framework\Attributes\TestWith;
use PHPUnit\Framework\TestCase;

/**
 * A host without a server, which publishes by the HTTP API to one of several servers.
 */
final class FleetTest extends TestCase
{
    use OwnDirectory;

    /**
     * @param  'redis'|'valkey'  $which
     */
    #[TestWith(['redis'])]
    #[TestWith(['valkey'])]
    public function test_what_one_server_is_asked_to_publish_clients_of_another_receive_but_not_the_sender(string $which): void
    {
        $redis = new RunningRedis($this->scratch, $which);
        $servers = array_map(
            fn (string $name): TracedServer => new TracedServer($this->scratch->path($name), redis: "unix:{$redis->socket}"),
            ['near.sock', 'far.sock'],
        );

        foreach ($servers as $server) {
            $server->line('this node has its place in the fleet');
        }

        [$near, $far] = $servers;
        $driver = $this->booted(['transport' => 'http', 'fallback' => 'url', 'url' => $near->url])->make(Factory::class)->connection();
        $client = $this->subscribed($far);
        $sender = $this->subscribed($far);
        $neighbour = $this->subscribed($near);

        $driver->broadcast(['news'], 'first', ['n' => 1, 'socket' => $sender->socketId]);
        $driver->broadcast(['news'], 'second', []);

        foreach ([$client, $neighbour] as $other) {
            self::assertSame(['event' => 'first', 'channel' => 'news', 'data' => '{"n":1}'], $other->event());
            self::assertSame('second', $other->event()['event']);
        }

        self::assertSame('second', $sender->event()['event'], 'the sender has not had the first');

        foreach ($servers as $server) {
            $server->stop();
        }

        $redis->stop();
    }

    private function subscribed(TracedServer $server): WebSocket
    {
        return (new WebSocket($server->url.'/app/'.ChatApplication::KEY.'?protocol=7'))->subscribe('news');
    }
}
