<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Unavailable;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\InteractsWithBroadcasting;
use Illuminate\Broadcasting\InteractsWithSockets;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcast;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;
use Illuminate\Contracts\Broadcasting\ShouldRescue;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Database\Eloquent\BroadcastsEvents;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Foundation\Application;
use Illuminate\Http\Request;
use Illuminate\Notifications\Messages\BroadcastMessage;
use Illuminate\Notifications\Notifiable;
use Illuminate\Notifications\Notification;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Schema;
use PHPUnit\Framework\TestCase;
use Throwable;

/**
 * All that Laravel broadcasts by, through the real extension into the real server.
 */
final class LaravelEventsTest extends TestCase
{
    use OwnDirectory;

    private Application $app;

    protected function setUp(): void
    {
        $this->app = $this->boot([]);
    }

    public function test_an_event_reaches_the_server_with_its_name_channels_and_data(): void
    {
        $server = $this->server();

        broadcast(new OrderShipped([new PrivateChannel('orders.1'), new Channel('news')], 'grüße'));

        self::assertSame(
            ['test', 'private-orders.1 news', '{"text":"gr\u00fc\u00dfe"}'],
            $this->published($server, OrderShipped::class),
        );
        $server->stop();
    }

    public function test_an_event_on_many_channels_is_one_publication_for_each_hundred(): void
    {
        $server = $this->server();

        broadcast(new OrderShipped(array_map(static fn (int $n): Channel => new Channel("c{$n}"), range(1, 150)), 'x'));

        self::assertSame(100, count(explode(' ', $this->published($server, OrderShipped::class)[1])));
        self::assertSame(50, count(explode(' ', $this->published($server, OrderShipped::class)[1])));
        $server->stop();
    }

    public function test_a_queued_event_takes_the_connection_that_it_names(): void
    {
        $server = $this->server();
        $this->app->make('config')->set('broadcasting.default', 'null');

        broadcast(new OrderCounted)->via('fanfare');

        self::assertSame(['test', 'counts', '{"orders":3}'], $this->published($server, 'orders.counted'));
        $server->stop();
    }

    public function test_anonymous_events(): void
    {
        $server = $this->server();

        Broadcast::on('news')->as('Plain')->with(['n' => 1])->sendNow();
        Broadcast::private('orders.1')->as('Private')->sendNow();
        Broadcast::presence('room')->as('Presence')->send();

        self::assertSame(['test', 'news', '{"n":1}'], $this->published($server, 'Plain'));
        self::assertSame(['test', 'private-orders.1', '[]'], $this->published($server, 'Private'));
        self::assertSame(['test', 'presence-room', '[]'], $this->published($server, 'Presence'));
        $server->stop();
    }

    public function test_models_broadcast_what_becomes_of_them(): void
    {
        $server = $this->server();
        $this->database();

        $post = Post::query()->create(['title' => 'one']);
        $post->update(['title' => 'two']);
        $post->delete();

        $channel = 'private-'.str_replace('\\', '.', Post::class).'.1';
        [, $channels, $data] = $this->published($server, 'PostCreated');
        self::assertSame($channel, $channels);
        self::assertSame('one', json_decode($data, true)['model']['title']);
        self::assertSame('two', json_decode($this->published($server, 'PostUpdated')[2], true)['model']['title']);
        self::assertSame($channel, $this->published($server, 'PostDeleted')[1]);
        $server->stop();
    }

    public function test_notifications_are_broadcast(): void
    {
        $server = $this->server();

        (new Customer)->notify(new InvoicePaid);

        [, $channels, $data] = $this->published($server, 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated');
        self::assertSame('private-'.str_replace('\\', '.', Customer::class).'.7', $channels);
        self::assertSame(['total' => 5, 'type' => InvoicePaid::class], array_diff_key(json_decode($data, true), ['id' => true]));
        $server->stop();
    }

    public function test_to_others_leaves_out_the_socket_of_the_request(): void
    {
        $api = new PretendApi;
        $this->app = $this->boot(['transport' => 'http', 'fallback' => 'url', 'url' => $api->url()]);
        $request = Request::create('/');
        $request->headers->set('X-Socket-ID', '12.34');
        $this->app->instance('request', $request);

        broadcast(new OrderShipped([new Channel('a')], 'others'))->toOthers();
        broadcast(new OrderShipped([new Channel('a')], 'all'));
        Broadcast::on('a')->as('Anonymous')->toOthers()->sendNow();

        self::assertSame(
            ['name' => OrderShipped::class, 'data' => '{"text":"others"}', 'channel' => 'a', 'socket_id' => '12.34'],
            $api->request()['body'],
        );
        self::assertSame(['name' => OrderShipped::class, 'data' => '{"text":"all"}', 'channel' => 'a'], $api->request()['body']);
        self::assertSame('12.34', $api->request()['body']['socket_id']);
    }

    public function test_an_event_that_is_to_be_rescued_fails_quietly_and_is_reported(): void
    {
        $reported = [];
        $this->app->make(ExceptionHandler::class)->reportable(static function (BroadcastException $e) use (&$reported): bool {
            $reported[] = $e;

            return false;
        });

        broadcast(new Rescued);

        self::assertCount(1, $reported);
        self::assertInstanceOf(Unavailable::class, $reported[0]->getPrevious());
    }

    public function test_an_event_that_is_not_to_be_rescued_fails(): void
    {
        try {
            broadcast(new OrderShipped([new Channel('a')], 'x'));
            self::fail('expected BroadcastException, found that it was published');
        } catch (Throwable $e) {
            self::assertInstanceOf(BroadcastException::class, $e);
            self::assertStringStartsWith('Broadcasting ['.OrderShipped::class.'] to 1 channel(s) failed: ', $e->getMessage());
        }
    }

    private function database(): void
    {
        $this->app->make('config')->set([
            'database.default' => 'memory',
            'database.connections.memory' => ['driver' => 'sqlite', 'database' => ':memory:'],
        ]);
        Schema::create('posts', static function (Blueprint $table): void {
            $table->id();
            $table->string('title');
            $table->timestamps();
        });
    }

    /**
     * @return array{string, string, string}  app, channels, data
     */
    private function published(TracedServer $server, string $event): array
    {
        $publication = $server->published($event);

        return [$publication['app'], $publication['channels'], $publication['data']];
    }

    private function server(): TracedServer
    {
        return new TracedServer($this->socket);
    }

    /**
     * @param  array<string, mixed>  $publish
     */
    private function boot(array $publish): Application
    {
        return $this->booted($publish + ['fallback' => 'none'], ['queue.default' => 'sync']);
    }
}

final class OrderShipped implements ShouldBroadcastNow
{
    use InteractsWithSockets;

    /**
     * @param  list<Channel>  $on
     */
    public function __construct(private readonly array $on, public readonly string $text) {}

    /**
     * @return list<Channel>
     */
    public function broadcastOn(): array
    {
        return $this->on;
    }
}

final class OrderCounted implements ShouldBroadcast
{
    use InteractsWithBroadcasting;

    public int $orders = 3;

    public function broadcastOn(): string
    {
        return 'counts';
    }

    public function broadcastAs(): string
    {
        return 'orders.counted';
    }

    /**
     * @return array<string, int>
     */
    public function broadcastWith(): array
    {
        return ['orders' => $this->orders];
    }
}

final class Rescued implements ShouldBroadcastNow, ShouldRescue
{
    public function broadcastOn(): string
    {
        return 'news';
    }
}

final class Post extends Model
{
    use BroadcastsEvents;

    protected $guarded = [];

    /**
     * @return list<Model>
     */
    public function broadcastOn(string $event): array
    {
        return [$this];
    }
}

final class Customer
{
    use Notifiable;

    public int $id = 7;

    public function getKey(): int
    {
        return $this->id;
    }
}

final class InvoicePaid extends Notification
{
    /**
     * @return list<string>
     */
    public function via(object $notifiable): array
    {
        return ['broadcast'];
    }

    public function toBroadcast(object $notifiable): BroadcastMessage
    {
        return new BroadcastMessage(['total' => 5]);
    }
}
