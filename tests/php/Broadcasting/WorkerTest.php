<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\TracedServer;
use PHPUnit\Framework\TestCase;

/**
 * One process that serves two thousand requests of two tenants: nothing of the one is left for the other, and
 * nothing is left at all. The worker itself checks the answers to clients that want to subscribe.
 */
final class WorkerTest extends TestCase
{
    use OwnDirectory;

    private const int REQUESTS = 2_000;

    /** Between the first thousand requests and the second; one that left 16 bytes would leave more in all. */
    private const int BYTES = 16_000;

    private const array APPS = [
        ['id' => 'tenant-a', 'key' => 'key-a', 'secret' => 'secret-a-8f3'],
        ['id' => 'tenant-b', 'key' => 'key-b', 'secret' => 'secret-b-1c9'],
    ];

    public function test_through_the_extension_each_tenant_publishes_to_its_own_app(): void
    {
        $this->assertEachTenantPublishesToItsOwnApp([]);
    }

    /**
     * FANFARE_TEST_OCTANE is the directory of a laravel/octane, which Composer brings where there is Packagist.
     */
    public function test_the_same_in_octanes_own_worker(): void
    {
        $octane = (string) getenv('FANFARE_TEST_OCTANE');

        if ($octane === '') {
            self::markTestSkipped('needs FANFARE_TEST_OCTANE, the directory of laravel/octane');
        }

        $this->assertEachTenantPublishesToItsOwnApp(['octane' => $octane]);
    }

    /**
     * A worker that has served its requests, one that is killed while it serves, and one that takes over.
     */
    public function test_workers_that_are_recycled_or_killed_lose_nothing_and_give_their_attachments_back(): void
    {
        $server = new TracedServer($this->socket, self::APPS);

        $first = $this->worker('auto', 100);
        self::assertEquals(self::expected(100), $this->published($server, 100));
        self::awaitEndOf($server);
        self::assertSame(0, $first->exitCode(), $first->transcript);

        $killed = $this->worker('auto', 1_000_000);
        $killed->line('served 501');
        self::assertSame(128 + SIGKILL, $killed->signal(SIGKILL)->exitCode());
        self::awaitEndOf($server);

        $last = $this->worker('auto', 100);
        self::awaitEndOf($server);
        self::assertSame(0, $last->exitCode(), $last->transcript);
        $server->stop();

        // What the killed one said that it had served was published, in order; what its successor published follows.
        preg_match_all('/^served (\d+)$/m', $killed->transcript, $served);
        $found = self::byTenant($server->transcript());
        $least = self::expected(count($served[1]));

        foreach (self::expected(100) as $tenant => $first) {
            self::assertSame([...$first, ...$least[$tenant]], array_slice($found[$tenant], 0, count($first) + count($least[$tenant])));
            self::assertSame($first, array_slice($found[$tenant], -count($first)));
        }
    }

    public function test_a_worker_that_forks_publishes_on_in_both(): void
    {
        $server = new TracedServer($this->socket, self::APPS);
        $worker = $this->worker('auto', 200, ['fork_at' => 100]);
        self::awaitEndOf($server, 2);
        self::assertSame(0, $worker->exitCode(), $worker->transcript);
        $server->stop();

        $found = self::byTenant($server->transcript());

        foreach (self::expected(200) as $tenant => $publications) {
            [$before, $after] = [self::expected(100)[$tenant], array_slice($publications, count(self::expected(100)[$tenant]))];
            self::assertSame($before, array_slice($found[$tenant], 0, count($before)));
            self::assertEqualsCanonicalizing([...$after, ...$after], array_slice($found[$tenant], count($before)));
        }
    }

    public function test_over_http_each_tenant_publishes_to_its_own_app_and_all_on_one_connection(): void
    {
        $api = new PretendApi($this->socket, array_column(self::APPS, 'secret', 'key'));
        $worker = $this->worker('http');
        $connections = [];

        for ($n = 0; $n < self::REQUESTS; $n++) {
            if (intdiv($n, 2) % 2 !== 0) {
                continue;
            }

            $tenant = self::APPS[$n % 2];

            foreach (['driver', 'facade'] as $event) {
                $request = $api->request();
                $connections[$request['connection']] = true;

                self::assertSame("/apps/{$tenant['id']}/events", $request['path']);
                self::assertSame($tenant['key'], $request['query']['auth_key']);
                self::assertSame(
                    ['name' => $event, 'data' => json_encode(['tenant' => $tenant['id'], 'n' => (string) $n]), 'channel' => 'news'],
                    $request['body'],
                );
            }
        }

        self::assertSame(0, $worker->exitCode(), $worker->transcript);
        self::assertCount(1, $connections);
        $this->assertNothingIsLeft($worker);
    }

    /**
     * @param  array<string, mixed>  $options
     */
    private function assertEachTenantPublishesToItsOwnApp(array $options): void
    {
        $server = new TracedServer($this->socket, self::APPS);
        $worker = $this->worker('auto', self::REQUESTS, $options);
        $found = $this->published($server, self::REQUESTS);

        self::assertSame(0, $worker->exitCode(), $worker->transcript);
        $server->stop();
        $this->assertNothingIsLeft($worker);
        self::assertEquals(self::expected(self::REQUESTS), $found);
    }

    /**
     * What so many requests publish. Each tenant has a ring of its own: within one there is an order.
     *
     * @return array<string, list<string>>  by tenant
     */
    private static function expected(int $requests): array
    {
        $expected = [];

        for ($n = 0; $n < $requests; $n++) {
            if (intdiv($n, 2) % 2 === 0) {
                $tenant = self::APPS[$n % 2]['id'];
                $data = json_encode(['tenant' => $tenant, 'n' => (string) $n]);
                $expected[$tenant][] = "driver {$data}";
                $expected[$tenant][] = "facade {$data}";
            }
        }

        return $expected;
    }

    /**
     * Waits for what so many requests publish.
     *
     * @return array<string, list<string>>  by tenant
     */
    private function published(TracedServer $server, int $requests): array
    {
        $found = [];

        for ($publications = 0; $publications < $requests; $publications++) {
            $publication = $server->next();
            $found[$publication['app']][] = $publication['event'].' '.$publication['data'];
        }

        return $found;
    }

    /**
     * @return array<string, list<string>>  by tenant
     */
    private static function byTenant(string $transcript): array
    {
        $found = [];

        foreach (explode("\n", $transcript) as $line) {
            if (str_contains($line, '"message":"publication"')) {
                $publication = json_decode($line, true, flags: JSON_THROW_ON_ERROR)['fields'];
                $found[$publication['app']][] = $publication['event'].' '.$publication['data'];
            }
        }

        return $found;
    }

    /**
     * @param  array<string, mixed>  $options
     */
    private function worker(string $transport, int $requests = self::REQUESTS, array $options = []): RunningCommand
    {
        return new RunningCommand([
            PHP_BINARY,
            __DIR__.'/fixtures/worker.php',
            $this->socket,
            $transport,
            (string) $requests,
            (string) json_encode((object) $options),
        ]);
    }

    /**
     * Waits until the server has let go what a process had with it: a ring for each tenant.
     */
    private static function awaitEndOf(TracedServer $server, int $processes = 1): void
    {
        for ($rings = 0; $rings < (count(self::APPS) * $processes); $rings++) {
            $server->line('a PHP process is gone');
        }
    }

    private function assertNothingIsLeft(RunningCommand $worker): void
    {
        self::assertSame(1, preg_match('/^\{"early".*$/m', $worker->transcript, $line), $worker->transcript);
        $left = json_decode($line[0], true, flags: JSON_THROW_ON_ERROR);

        self::assertSame($left['early']['descriptors'], $left['late']['descriptors']);
        self::assertLessThan(self::BYTES, $left['late']['bytes'] - $left['early']['bytes']);
    }
}
