<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Broadcasting;

use Fanfare\Laravel\Tests\Support\PretendApi;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\TracedServer;
use Fanfare\Laravel\Tests\Support\Scratch;
use PHPUnit\Framework\TestCase;

/**
 * One process that serves two thousand requests of two tenants: nothing of the one is left for the other, and
 * nothing is left at all. The worker itself checks the answers to clients that want to subscribe.
 */
final class WorkerTest extends TestCase
{
    private const int REQUESTS = 2_000;

    /** Between the first thousand requests and the second; one that left 16 bytes would leave more in all. */
    private const int BYTES = 16_000;

    private const array APPS = [
        ['id' => 'tenant-a', 'key' => 'key-a', 'secret' => 'secret-a-8f3'],
        ['id' => 'tenant-b', 'key' => 'key-b', 'secret' => 'secret-b-1c9'],
    ];

    private Scratch $scratch;

    protected function setUp(): void
    {
        $this->scratch = new Scratch;
    }

    protected function tearDown(): void
    {
        $this->scratch->remove();
    }

    public function test_through_the_extension_each_tenant_publishes_to_its_own_app(): void
    {
        $server = new TracedServer($this->scratch->path('fanfare.sock'), self::APPS);
        $worker = $this->worker('auto');

        $found = [];

        for ($publications = 0; $publications < self::REQUESTS; $publications++) {
            $publication = $server->next();
            $found[$publication['app']][] = $publication['event'].' '.$publication['data'];
        }

        self::assertSame(0, $worker->exitCode(), $worker->transcript);
        $server->stop();
        $this->assertNothingIsLeft($worker);

        // Each tenant has a ring of its own: within one there is an order.
        $expected = [];

        for ($n = 0; $n < self::REQUESTS; $n++) {
            if (intdiv($n, 2) % 2 === 0) {
                $tenant = self::APPS[$n % 2]['id'];
                $data = json_encode(['tenant' => $tenant, 'n' => (string) $n]);
                $expected[$tenant][] = "driver {$data}";
                $expected[$tenant][] = "facade {$data}";
            }
        }

        self::assertEquals($expected, $found);
    }

    public function test_over_http_each_tenant_publishes_to_its_own_app_and_all_on_one_connection(): void
    {
        $api = new PretendApi($this->scratch->path('fanfare.sock'), array_column(self::APPS, 'secret', 'key'));
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

    private function worker(string $transport): RunningCommand
    {
        return new RunningCommand([
            PHP_BINARY,
            __DIR__.'/fixtures/worker.php',
            $this->scratch->path('fanfare.sock'),
            $transport,
            (string) self::REQUESTS,
        ]);
    }

    private function assertNothingIsLeft(RunningCommand $worker): void
    {
        self::assertSame(1, preg_match('/^\{"early".*$/m', $worker->transcript, $line), $worker->transcript);
        $left = json_decode($line[0], true, flags: JSON_THROW_ON_ERROR);

        self::assertSame($left['early']['descriptors'], $left['late']['descriptors']);
        self::assertLessThan(self::BYTES, $left['late']['bytes'] - $left['early']['bytes']);
    }
}
