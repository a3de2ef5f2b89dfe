<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\Scratch;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Laravel\Tests\Support\WebSocket;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:listen` in an application of its own, with the real server and real clients.
 */
final class ListenCommandTest extends TestCase
{
    private const array APP = ['id' => 'test', 'key' => ChatApplication::KEY, 'secret' => ChatApplication::SECRET];

    private Scratch $scratch;

    private FreshApplication $application;

    private ?TracedServer $server = null;

    protected function setUp(): void
    {
        $this->scratch = new Scratch;
        $this->application = new FreshApplication($this->scratch, [
            '.env' => FreshApplication::env()
                ."FANFARE_APP_ID=test\nFANFARE_APP_KEY=".ChatApplication::KEY."\nFANFARE_APP_SECRET=".ChatApplication::SECRET."\n"
                ."FANFARE_SOCKET={$this->scratch->path('f.sock')}\nDB_DATABASE={$this->scratch->path('db.sqlite')}\nLOG_CHANNEL=single\n",
            'bootstrap/providers.php' => '<?php require '.var_export(__DIR__.'/fixtures/listeners.php', true)."; return [\\Fanfare\\Laravel\\Tests\\Console\\Fixtures\\Listeners::class];\n",
        ]);
    }

    protected function tearDown(): void
    {
        $this->server?->stop();
        $this->scratch->remove();
    }

    public function test_every_kind_of_event_is_dispatched_with_the_user_whom_the_application_vouches_for(): void
    {
        $this->serve(['subscription_count' => true]);
        $listen = $this->listening();
        $client = $this->client();

        $client->subscribeSigned('presence-room', '{"user_id":"7"}');
        $client->send('client-typing', ['on' => true], 'presence-room');
        $client->subscribeSigned('private-orders');
        $client->send('client-seen', ['id' => 1], 'private-orders');
        $client->signIn('8');
        $client->send('client-seen', ['id' => 2], 'private-orders');
        $client->subscribeSigned('cache-prices');
        $client->send('pusher:unsubscribe', ['channel' => 'presence-room']);

        $told = [];

        // Who leaves is waited for, so that this is the last.
        do {
            $told[] = $event = $this->event($listen);
        } while ($event['event'] !== 'ChannelVacated');

        $ids = array_map(static fn (array $event): string => $event['of']['id'], $told);
        self::assertSame($ids, array_unique($ids));

        foreach ($told as &$event) {
            self::assertSame('test', $event['of']['app']);
            unset($event['of']['id'], $event['of']['app']);
        }

        $room = ['channel' => 'presence-room'];
        $orders = ['channel' => 'private-orders'];
        $prices = ['channel' => 'cache-prices'];
        $sender = ['socketId' => $client->socketId];

        self::assertSame([
            ['event' => 'ChannelOccupied', 'of' => $room],
            ['event' => 'MemberAdded', 'of' => $room + ['userId' => '7']],
            ['event' => 'ClientEvent', 'of' => $room + ['event' => 'client-typing', 'data' => '{"on":true}'] + $sender + ['userId' => '7']],
            ['event' => 'ChannelOccupied', 'of' => $orders],
            ['event' => 'SubscriptionCount', 'of' => $orders + ['subscriptionCount' => 1]],
            ['event' => 'ClientEvent', 'of' => $orders + ['event' => 'client-seen', 'data' => '{"id":1}'] + $sender + ['userId' => null]],
            ['event' => 'ClientEvent', 'of' => $orders + ['event' => 'client-seen', 'data' => '{"id":2}'] + $sender + ['userId' => '8']],
            ['event' => 'ChannelOccupied', 'of' => $prices],
            ['event' => 'SubscriptionCount', 'of' => $prices + ['subscriptionCount' => 1]],
            ['event' => 'CacheMiss', 'of' => $prices],
            ['event' => 'MemberRemoved', 'of' => $room + ['userId' => '7']],
            ['event' => 'ChannelVacated', 'of' => $room],
        ], $told);

        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
    }

    public function test_a_worker_that_is_killed_before_it_is_done_leaves_its_events_to_the_next(): void
    {
        $this->serve();
        $this->scratch->file('app/wait', '');
        $killed = $this->listening();
        $client = $this->client();
        $client->subscribeSigned('orders');
        $first = $this->event($killed);
        self::assertSame(['ChannelOccupied', 'orders'], [$first['event'], $first['of']['channel']]);
        $killed->signal(SIGKILL)->exitCode();

        unlink($this->scratch->path('app/wait'));
        $next = $this->listening();
        self::assertSame($first, $this->event($next), 'the same, with the same id');
        $this->metric('listener_events_taken_total', 1);
        $next->signal(SIGKILL)->exitCode();

        // What it was done with does not come again.
        $last = $this->listening();
        $client->subscribeSigned('news');
        self::assertSame('news', $this->event($last)['of']['channel']);
        self::assertSame(0, $last->signal(SIGINT)->exitCode());
    }

    public function test_workers_that_are_killed_at_any_moment_lose_nothing(): void
    {
        $this->serve(limits: ['client_events_per_s' => 1_000_000, 'webhook_batch_events_max' => 7]);
        $client = $this->client();
        $client->subscribeSigned('private-orders');
        $names = array_map(static fn (int $n): string => "client-{$n}", range(0, 299));

        foreach ($names as $name) {
            $client->send($name, [], 'private-orders');
        }

        $heard = [];

        while (! in_array('client-299', $heard, true)) {
            $listen = $this->application->artisan(['fanfare:listen']);

            // It is further on than what is read of it.
            for ($events = random_int(0, 60); $events > 0 && ! in_array('client-299', $heard, true); $events--) {
                $heard[] = $this->event($listen)['of']['event'] ?? 'occupied';
            }

            $listen->signal(SIGKILL)->exitCode();
            preg_match_all('/"event":"(client-\d+)"/', $listen->transcript, $matches);
            array_push($heard, ...$matches[1]);
        }

        self::assertSame($names, array_values(array_filter(array_unique($heard), static fn (string $name): bool => $name !== 'occupied')));
    }

    public function test_a_worker_that_is_told_to_end_finishes_what_it_has(): void
    {
        $this->serve();
        $this->scratch->file('app/wait', '');
        $listen = $this->listening();
        $client = $this->client();
        $client->subscribeSigned('orders');
        $this->event($listen);
        $listen->signal(SIGTERM);
        unlink($this->scratch->path('app/wait'));
        self::assertSame(0, $listen->exitCode());
        $this->metric('listener_events_taken_total', 1);
        $this->metric('listeners', 0);
    }

    public function test_a_queued_listener_runs_in_a_queue_worker(): void
    {
        $this->serve();
        $this->scratch->file('app/queue', '');
        $this->scratch->file('db.sqlite', '');
        $migrate = $this->application->artisan(['migrate', '--force', '--realpath', '--path='.ChatApplication::path('database/migrations')]);
        self::assertSame(0, $migrate->exitCode(), $migrate->transcript);

        $listen = $this->listening();
        $client = $this->client();
        $client->subscribeSigned('presence-room', '{"user_id":"7"}');
        $client->send('client-typing', ['on' => true], 'presence-room');
        $listen->line('client-typing');
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
        self::assertStringNotContainsString('queued: ', $listen->transcript);

        $worked = $this->application->artisan(['queue:work', '--once']);
        self::assertSame(0, $worked->exitCode(), $worked->transcript);
        self::assertStringContainsString('queued: {"id":"', $worked->transcript);
        self::assertStringContainsString('"data":"{\"on\":true}"', $worked->transcript);
        self::assertStringContainsString('"userId":"7"', $worked->transcript);
    }

    public function test_an_event_whose_listener_throws_is_dispatched_again_then_reported_and_left_behind(): void
    {
        $this->serve();
        $this->scratch->file('app/throw', '');
        $listen = $this->listening('--tries=3', '--backoff=0');
        $client = $this->client();
        $client->subscribeSigned('orders');
        $first = $this->event($listen);
        self::assertSame([$first, $first], [$this->event($listen), $this->event($listen)]);
        $listen->line('threw the listener is broken (RuntimeException) 3 times. It is reported and left behind.');
        $this->metric('listener_events_taken_total', 1);
        self::assertSame(1, substr_count($this->application->read('storage/logs/laravel.log'), 'local.ERROR: the listener is broken'));

        unlink($this->scratch->path('app/throw'));
        $client->subscribeSigned('news');
        self::assertSame('news', $this->event($listen)['of']['channel']);
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
    }

    public function test_without_a_bound_of_tries_nothing_is_left_behind(): void
    {
        $this->serve();
        $this->scratch->file('app/throw', '');
        $listen = $this->listening('--tries=0', '--backoff=0.001');
        $client = $this->client();
        $client->subscribeSigned('orders');

        for ($tries = 0; $tries < 5; $tries++) {
            $first = $this->event($listen);
        }

        // It is not done with it, so that the next one gets it.
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
        unlink($this->scratch->path('app/throw'));
        self::assertSame($first, $this->event($this->listening()));
    }

    public function test_events_that_were_not_kept_are_an_event(): void
    {
        $this->serve(limits: ['listener_queue_bytes_max' => 1_024]);
        $client = $this->client();

        for ($n = 0; $n < 20; $n++) {
            $client->subscribeSigned("channel-{$n}");
        }

        $this->metric('listener_events_dropped_total', 13);
        $status = $this->application->artisan(['fanfare:status', '--interval=0']);
        $status->exitCode();
        self::assertMatchesRegularExpression('/^  Listeners \(fanfare:listen\) \.+ 0, 7 events waiting, 13 dropped *$/m', $status->transcript);
        $listen = $this->listening();
        $missed = $this->event($listen);
        self::assertSame(['EventsMissed', 13], [$missed['event'], $missed['of']['count']]);
        self::assertSame('channel-0', $this->event($listen)['of']['channel']);
    }

    public function test_it_waits_for_a_server_and_goes_on_with_its_successor(): void
    {
        $listen = $this->application->artisan(['fanfare:listen']);
        $listen->line('found no such file. Start it with `php artisan fanfare:start`, or correct FANFARE_SOCKET if it runs with another one. It is waited for.');

        foreach (['first', 'second'] as $channel) {
            $this->serve();
            $listen->line('Listening to what happens in the app test');
            $client = $this->client();
            $client->subscribeSigned($channel);
            self::assertSame($channel, $this->event($listen)['of']['channel']);
            $client->close();
            $this->server?->stop();
            // Before it goes it tells that its channels are vacated.
            self::assertSame('ChannelVacated', $this->event($listen)['event']);
            self::assertStringNotContainsString('are lost', $this->server?->transcript() ?? '');
            $listen->line('The server has left. Its successor is waited for.');
        }

        // Each is said once, however long it takes.
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
        self::assertLessThanOrEqual(3, substr_count($listen->transcript, 'It is waited for.'));
        $this->server = null;
    }

    public function test_a_server_that_ends_without_a_word_has_left_and_that_is_said_once(): void
    {
        $this->serve();
        $listen = $this->listening();
        $this->server?->stop();
        $listen->line('The server has left. Its successor is waited for.');
        $this->server = null;

        // What a server that is killed does with connections that nobody has read yet.
        $socket = $this->scratch->path('f.sock');
        @unlink($socket);
        $killed = stream_socket_server("unix://{$socket}");
        fclose(stream_socket_accept($killed, 30));
        fclose(stream_socket_accept($killed, 30));
        fclose($killed);
        unlink($socket);

        $this->serve();
        $listen->line('Listening to what happens in the app test');
        self::assertSame(1, substr_count($listen->transcript, 'waited for.'), $listen->transcript);
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
    }

    public function test_one_variable_in_env_is_all_that_server_and_worker_need(): void
    {
        $env = ['FANFARE_APP_LISTENER' => 'true'];
        $start = $this->application->artisan(['fanfare:start'], $env + [
            'FANFARE_HOST' => '127.0.0.1',
            'FANFARE_PORT' => '0',
            'FANFARE_LOG_FORMAT' => 'json',
            'FANFARE_BINARY' => ChatApplication::serverBinary(),
        ]);
        $start->line('"serving"');
        $listen = $this->application->artisan(['fanfare:listen', '--app=test'], $env);
        $listen->line('Listening to what happens in the app test');
        self::assertSame(0, $listen->signal(SIGTERM)->exitCode());
        self::assertSame(0, $start->signal(SIGTERM)->exitCode());
    }

    public function test_a_second_one_waits_until_the_first_has_gone(): void
    {
        $this->serve();
        $first = $this->listening();
        $second = $this->application->artisan(['fanfare:listen']);
        $second->line('Another process listens to the app test. This one waits for its turn.');
        $first->signal(SIGTERM)->exitCode();
        $second->line('Listening to what happens in the app test');
        self::assertSame(0, $second->signal(SIGTERM)->exitCode());
    }

    public function test_it_ends_when_it_has_done_enough_and_when_queue_workers_are_restarted(): void
    {
        $this->serve();
        $client = $this->client();

        foreach (['--once', '--max-events=1', '--max-time=1', '--memory=1'] as $option) {
            $listen = $this->application->artisan(['fanfare:listen', $option]);
            $client->subscribeSigned('channel'.$option);
            self::assertSame(0, $listen->exitCode(), $listen->transcript);
        }

        $listen = $this->listening();
        self::assertSame(0, $this->application->artisan(['queue:restart'])->exitCode());
        self::assertSame(0, $listen->exitCode());
    }

    public function test_why_it_cannot_listen_is_told_with_what_to_do(): void
    {
        $this->server = new TracedServer($this->scratch->path('f.sock'), [self::APP]);
        $off = 'found that it does not. ';
        $this->fails("{$off}Set FANFARE_APP_LISTENER=true in .env, or `'listener' => true`");
        $this->fails("{$off}This application's configuration has one: the server was started before. Restart it", ['FANFARE_APP_LISTENER' => 'true']);
        $this->fails('says no: expected', ['FANFARE_APP_SECRET' => 'another']);
        $this->fails('--app: expected the id of an app in fanfare.apps, found "nobody"', options: ['--app=nobody'], code: 64);
        $this->fails('--tries: expected a number from 0 on, found "x"', options: ['--tries=x'], code: 64);
        $this->fails('fanfare.apps.0.listener: expected true or false, found "maybe"', ['FANFARE_APP_LISTENER' => 'maybe'], code: 64);

        $old = $this->scratch->path('old.sock');
        $api = new PretendApi($old);
        $api->willAnswer(['error' => ['code' => 'not_found', 'message' => 'no such path']], 404, close: true);
        $this->fails('found one that does not know what is asked. Install the server and this package in the same version', options: ["--socket={$old}"]);
    }

    /**
     * @param  array<string, string>  $env
     * @param  list<string>  $options
     */
    private function fails(string $words, array $env = [], array $options = [], int $code = 1): void
    {
        $listen = $this->application->artisan(['fanfare:listen', ...$options], $env);
        self::assertSame($code, $listen->exitCode(), $listen->transcript);
        self::assertStringContainsString($words, $listen->transcript);
    }

    /**
     * @param  array<string, mixed>  $app
     * @param  array<string, int>  $limits
     */
    private function serve(array $app = [], array $limits = []): void
    {
        $this->server = new TracedServer($this->scratch->path('f.sock'), [self::APP + ['listener' => true] + $app], $limits + ['webhook_settle_ms' => 1], 'info');
    }

    private function listening(string ...$options): RunningCommand
    {
        $listen = $this->application->artisan(['fanfare:listen', ...array_values($options)]);
        $listen->line('Listening to what happens in the app test');

        return $listen;
    }

    private function client(): WebSocket
    {
        return new WebSocket("{$this->server?->url}/app/".ChatApplication::KEY.'?protocol=7');
    }

    /**
     * Waits for the next event that a listener writes.
     *
     * @return array{event: string, of: array<string, mixed>}
     */
    private function event(RunningCommand $listen): array
    {
        return json_decode($listen->line('{"event":'), true, flags: JSON_THROW_ON_ERROR);
    }

    /**
     * Waits until the server counts so many.
     */
    private function metric(string $name, int $number): void
    {
        $inspector = new Inspector($this->scratch->path('f.sock'), 30_000);
        $deadline = hrtime(true) + 60_000_000_000;

        while (($found = $inspector->status()->document['metrics'][$name]) !== $number) {
            self::assertLessThan($deadline, hrtime(true), "gave up waiting until {$name} is {$number}, found {$found}");
        }
    }
}
