<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Queue;

use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\QueueingApplication;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Laravel\Tests\Support\WebSocket;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use RuntimeException;

/**
 * Events that wait in a real queue, broadcast by `artisan queue:work` through the extension to a client.
 */
final class QueueWorkerTest extends TestCase
{
    use OwnDirectory;

    private ?RunningRedis $redis = null;

    private ?QueueingApplication $app = null;

    protected function tearDown(): void
    {
        $this->redis?->stop();
    }

    #[DataProvider('queues')]
    public function test_a_worker_broadcasts_what_was_queued_by_shared_memory_and_leaves_when_it_is_restarted(string $queue): void
    {
        $server = $this->server();
        $client = $this->client($server);
        $app = $this->application($queue);
        $worker = $app->worker();

        $app->count(1, 20);
        self::assertSame(range(1, 20), $this->numbers($client, 20));
        self::assertSame(['ring' => 1, 'socket' => 0], $this->attachments());

        $app->restartWorkers();
        self::assertSame(0, $worker->exitCode(), $worker->transcript);
        $this->awaitNoAttachment();
        self::assertSame(0, $app->waiting());

        // What comes while no worker is there waits for the next one, which is ended as a supervisor, or Horizon, does.
        $app->count(21, 22);
        $next = $app->worker();
        self::assertSame([21, 22], $this->numbers($client, 2));
        self::assertSame(0, $next->signal(SIGTERM)->exitCode(), $next->transcript);
        $this->awaitNoAttachment();
        $server->stop();
    }

    #[DataProvider('twoQueues')]
    public function test_workers_that_are_recycled_give_their_attachment_back_and_lose_nothing(string $queue): void
    {
        $server = $this->server();
        $client = $this->client($server);
        $app = $this->application($queue);
        $app->count(1, 12);

        foreach ([[1, 5], [6, 10], [11, 12]] as [$from, $to]) {
            $worker = $app->worker('--max-jobs=5', '--stop-when-empty');
            self::assertSame(0, $worker->exitCode(), $worker->transcript);
            self::assertSame(range($from, $to), $this->numbers($client, $to - $from + 1));
            $this->awaitNoAttachment();
        }

        $server->stop();
    }

    /**
     * @param  'before'|'after'  $when  the broadcast
     * @param  list<int>  $delivered  in all
     */
    #[DataProvider('kills')]
    public function test_the_job_of_a_killed_worker_is_done_by_another(string $queue, string $when, array $delivered): void
    {
        $server = $this->server();
        $client = $this->client($server);
        $app = $this->application($queue);
        $worker = $app->worker();
        $app->count(1, 1);
        self::assertSame([1], $this->numbers($client, 1));
        $worker->line('DONE');

        $app->hold($when);
        $app->count(2, 3);
        $worker->line("held {$when}");
        self::assertSame(1, $this->attachments()['ring']);
        self::assertSame(128 + SIGKILL, $worker->signal(SIGKILL)->exitCode());
        $this->awaitNoAttachment();

        $app->release();
        $other = $app->worker();
        $found = [1, ...$this->numbers($client, count($delivered) - 1)];
        sort($found);
        self::assertSame($delivered, $found);

        Patience::until('an empty queue', static fn (): bool => $app->waiting() === 0);
        $app->restartWorkers();
        self::assertSame(0, $other->exitCode(), $other->transcript);
        $server->stop();
        // Nothing more was published than what the client has.
        self::assertSame(count($delivered), substr_count($server->transcript(), '"message":"publication"'));
    }

    /**
     * @return iterable<string, array{string, 'before'|'after', list<int>}>
     */
    public static function kills(): iterable
    {
        foreach (self::queues() as $name => [$queue]) {
            yield "{$name}, before the broadcast" => [$queue, 'before', [1, 2, 3]];
            // What had returned is delivered though its worker is dead; the queue, which does not know, has it done again.
            yield "{$name}, between the broadcast and the end of the job" => [$queue, 'after', [1, 2, 2, 3]];
        }
    }

    #[DataProvider('twoQueues')]
    public function test_a_server_that_is_restarted_under_a_worker_gets_what_was_queued_meanwhile(string $queue): void
    {
        $first = $this->server();
        $client = $this->client($first);
        $app = $this->application($queue);
        $worker = $app->worker();
        $app->count(1, 3);
        self::assertSame([1, 2, 3], $this->numbers($client, 3));

        self::assertSame(0, $first->stop());
        $app->count(4, 4);
        $worker->line('FAIL');

        // The worker tries again and again, so that the client may come too late for an only one.
        $second = $this->server();
        self::assertSame('{"n":4}', $second->published('Counted')['data']);
        $client = $this->client($second);
        $app->count(5, 7);
        self::assertSame([5, 6, 7], $this->numbers($client, 3));
        self::assertSame(['ring' => 1, 'socket' => 0], $this->attachments());

        $app->restartWorkers();
        self::assertSame(0, $worker->exitCode());
        $second->stop();
        self::assertSame(4, substr_count($second->transcript(), '"message":"publication"'));
    }

    public function test_a_job_that_forks_broadcasts_in_all_of_its_processes(): void
    {
        $server = $this->server();
        $client = $this->client($server);
        $app = $this->application('database');
        $app->fork();
        $app->count(1, 1);
        $worker = $app->worker('--stop-when-empty');
        self::assertSame(0, $worker->exitCode(), $worker->transcript);

        $events = array_map(static fn (): string => $client->event()['event'], range(1, 5));
        self::assertSame(['before', 'after', 'Counted'], array_values(array_diff($events, ['first', 'second'])));
        self::assertSame('after', $events[3], 'the children were done before');
        $this->awaitNoAttachment();
        $server->stop();
    }

    /**
     * @return iterable<string, array{'database'|'redis'|'valkey'}>
     */
    public static function queues(): iterable
    {
        yield 'database' => ['database'];
        yield 'Redis' => ['redis'];
        yield 'Valkey' => ['valkey'];
    }

    /**
     * @return iterable<string, array{'database'|'redis'}>
     */
    public static function twoQueues(): iterable
    {
        yield 'database' => ['database'];
        yield 'Redis' => ['redis'];
    }

    private function application(string $queue): QueueingApplication
    {
        if ($queue === 'database') {
            return $this->app = new QueueingApplication($this->scratch, ['QUEUE_CONNECTION' => 'database']);
        }

        extension_loaded('redis') || self::markTestSkipped('needs the PHP extension redis');
        $this->redis = new RunningRedis($this->scratch, $queue);

        return $this->app = new QueueingApplication($this->scratch, ['QUEUE_CONNECTION' => 'redis', 'REDIS_HOST' => $this->redis->socket, 'REDIS_PORT' => '0']);
    }

    private function server(): TracedServer
    {
        return new TracedServer($this->socket);
    }

    private function client(TracedServer $server): WebSocket
    {
        return (new WebSocket($server->url.'/app/'.ChatApplication::KEY.'?protocol=7'))->subscribe('counts');
    }

    /**
     * Waits for so many events.
     *
     * @return list<int>
     */
    private function numbers(WebSocket $client, int $count): array
    {
        $numbers = [];

        while (count($numbers) < $count) {
            try {
                $numbers[] = json_decode($client->event()['data'], true, flags: JSON_THROW_ON_ERROR)['n'];
            } catch (RuntimeException $e) {
                throw new RuntimeException("expected {$count} events, found ".implode(', ', $numbers)."; the application has logged\n".$this->app?->log(), previous: $e);
            }
        }

        return $numbers;
    }

    /**
     * @return array{ring: int, socket: int}
     */
    private function attachments(): array
    {
        return (new Inspector($this->socket, 30_000))->status()->document['attachments'];
    }

    private function awaitNoAttachment(): void
    {
        Patience::until('that the worker has given its attachment back', fn (): bool => $this->attachments() === ['ring' => 0, 'socket' => 0]);
    }
}
