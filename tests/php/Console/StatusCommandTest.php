<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\WebSocket;
use Fanfare\Sidecar;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:status` with the real server.
 */
final class StatusCommandTest extends TestCase
{
    use OwnDirectory;

    public function test_a_server_in_good_health_is_shown_as_a_table(): void
    {
        $server = new RunningServer($this->scratch);
        $status = $server->application->artisan('fanfare:status', '--interval=0.01');

        self::assertSame(0, $status->exitCode(), $status->transcript);

        foreach (["pid {$server->pid}", "127.0.0.1:{$server->port}", $this->socket, 'App test', 'a second', 'MiB', 'Healthy.'] as $words) {
            self::assertStringContainsString($words, $status->transcript);
        }

        $server->stop();
    }

    public function test_the_same_as_json_counts_what_was_published_between_two_looks(): void
    {
        $server = new RunningServer($this->scratch);
        $sidecar = new Sidecar($this->socket, RunningServer::KEY, 'test-secret-3f9a', ['transport' => 'socket', 'connect_timeout_ms' => 10_000]);
        $sidecar->broadcast('orders', 'Shipped', '{}');

        // The server acknowledges after it has counted.
        do {
            [$code, $report] = self::json($server->application->artisan('fanfare:status', '--json', '--interval=0'));
            self::assertSame(0, $code);
        } while ($report['server']['metrics']['publications_total'] === 0);

        self::assertTrue($report['healthy']);
        self::assertSame([], $report['problems']);
        self::assertNull($report['rates']);
        self::assertSame(['ring' => 0, 'socket' => 1], $report['server']['attachments']);
        self::assertSame(phpversion('fanfare'), $report['versions']['extension']);
        self::assertEquals(['id' => 'test', 'enabled' => true, 'connections' => 0, 'channels' => 0], $report['server']['apps'][0]);

        [, $report] = self::json($server->application->artisan('fanfare:status', '--json', '--interval=0.01'));
        self::assertEqualsWithDelta(0.0, $report['rates']['publications_total'], 0.0);

        $server->stop();
    }

    public function test_what_there_is_to_say_of_other_servers(): void
    {
        $redis = new RunningRedis($this->scratch);
        $env = ['FANFARE_REDIS_URL' => "unix:{$redis->socket}"];
        $server = new RunningServer($this->scratch, $env);
        $ready = static fn (string $word): callable => static fn (): bool => str_contains((string) @file_get_contents("http://127.0.0.1:{$server->port}/ready"), "\"{$word}\"");
        Patience::until('the server to be ready', $ready('ready'));
        $client = new WebSocket("http://127.0.0.1:{$server->port}/app/".RunningServer::KEY.'?protocol=7');
        $client->subscribe('news');

        $status = $server->application->artisan('fanfare:status', '--interval=0.01');
        self::assertSame(0, $status->exitCode(), $status->transcript);
        $words = (string) preg_replace(['/\.{2,}/', '/\s+/'], ' ', $status->transcript);
        self::assertMatchesRegularExpression('/ Redis connected for .* Servers of the fleet 1 live, this one is [0-9a-f]{16} Messages to other servers \d+ so far, [\d.]+ a second, 0 bytes waiting Messages of other servers /', $words);
        self::assertStringContainsString('App test 1 connections, 1 channels here App test, in the fleet 1 connections, 1 channels', $words);
        self::assertStringContainsString('Healthy.', $words);

        self::assertNull(self::json($server->application->artisan('fanfare:status', '--json', '--interval=0'))[1]['degraded']);
        $redis->stop();
        Patience::until('the server to notice', $ready('degraded'));

        [$code, $report] = self::json($server->application->artisan('fanfare:status', '--json', '--interval=0'));
        self::assertSame([0, true, []], [$code, $report['healthy'], $report['problems']], 'as GET /ready: its own clients are served');
        self::assertStringContainsString($redis->socket, $report['degraded']);
        $status = $server->application->artisan('fanfare:status', '--interval=0');
        self::assertSame(0, $status->exitCode());
        $words = (string) preg_replace(['/\.{2,}/', '/\s+/'], ' ', $status->transcript);
        self::assertMatchesRegularExpression('/ away for .* Degraded: /', $words);
        self::assertStringContainsString('App test, in the fleet 1 connections, 1 channels, without those from which this server is cut off: at least 1', $words);
        self::assertMatchesRegularExpression('/ Servers of the fleet how many live is not known while this one is cut off, 1 did before, this one is [0-9a-f]{16} /', $words);
        self::assertSame(1, substr_count($report['degraded'], $redis->socket), $report['degraded']);
        self::assertSame(['connections' => 1, 'channels' => 1, 'serversMissing' => 1], $report['fleet']['apps']['test']);
        self::assertStringContainsString('This server\'s own clients are served.', $words);
        self::assertStringNotContainsString('Healthy', $words);
        $client->close();
        $server->stop();
    }

    public function test_a_server_that_has_never_reached_its_redis_does_not_know_how_many_there_are(): void
    {
        $server = new RunningServer($this->scratch, ['FANFARE_REDIS_URL' => "unix:{$this->scratch->path('no-redis.sock')}"]);
        $degraded = static fn (): bool => str_contains((string) @file_get_contents("http://127.0.0.1:{$server->port}/ready"), '"degraded"');
        Patience::until('the server to notice', $degraded);

        $status = $server->application->artisan('fanfare:status', '--interval=0');
        self::assertSame(0, $status->exitCode(), $status->transcript);
        $words = (string) preg_replace(['/\.{2,}/', '/\s+/'], ' ', $status->transcript);
        self::assertMatchesRegularExpression('/ Servers of the fleet how many live is not known yet, this one is [0-9a-f]{16} /', $words);
        self::assertStringContainsString('App test, in the fleet 0 connections, 0 channels, without those from which this server is cut off: at least 1', $words);
        $server->stop();
    }

    public function test_a_redis_that_is_configured_and_that_the_server_was_started_without_is_a_problem(): void
    {
        $server = new RunningServer($this->scratch);
        $application = RunningServer::application($this->scratch, ['FANFARE_REDIS_CONNECTION' => 'default']);
        [$code, $report] = self::json($application->artisan('fanfare:status', '--json', '--interval=0'));

        self::assertSame(1, $code);
        self::assertStringContainsString('was started without one, so it is alone', implode($report['problems']));
        $server->stop();
    }

    public function test_without_the_extension_and_a_fallback_it_is_not_healthy_and_says_so(): void
    {
        $server = new RunningServer($this->scratch, ['FANFARE_FALLBACK' => 'none']);
        $status = $server->application->artisanWithoutExtension('fanfare:status', '--interval=0');

        self::assertSame(1, $status->exitCode());
        self::assertStringContainsString('has not loaded the extension', $status->transcript);

        $server->stop();
    }

    public function test_the_way_that_broadcasts_take_is_shown(): void
    {
        $server = new RunningServer($this->scratch);

        [, $with] = self::json($server->application->artisan('fanfare:status', '--json', '--interval=0'));
        self::assertSame('the extension (shared memory, or the socket), then HTTP over the Unix socket', $with['transport']);

        [$code, $without] = self::json($server->application->artisanWithoutExtension('fanfare:status', '--json', '--interval=0'));
        self::assertSame([0, 'HTTP over the Unix socket, since the extension is not loaded'], [$code, $without['transport']]);

        $server->stop();
    }

    public function test_a_binary_of_another_version_is_a_problem(): void
    {
        $binary = $this->scratch->file('fanfare', "#!/bin/sh\necho 'fanfare 9.9.9'\n", 0o700);
        $server = new RunningServer($this->scratch);
        $application = RunningServer::application($this->scratch, ['FANFARE_BINARY' => $binary]);

        [$code, $report] = self::json($application->artisan('fanfare:status', '--json', '--interval=0'));

        self::assertSame(1, $code);
        self::assertFalse($report['healthy']);
        self::assertCount(1, $report['problems']);
        self::assertStringContainsString("The binary {$binary} is 9.9.9, the running server {$report['versions']['server']}: `php artisan fanfare:restart`", $report['problems'][0]);

        $server->stop();
    }

    public function test_an_app_that_the_server_does_not_have_is_a_problem(): void
    {
        $server = new RunningServer($this->scratch);
        $status = RunningServer::application($this->scratch, ['FANFARE_APP_ID' => 'other'])->artisan('fanfare:status', '--interval=0');

        self::assertSame(1, $status->exitCode());
        self::assertStringContainsString('does not know the app other', preg_replace('/\s+/', ' ', $status->transcript));

        $server->stop();
    }

    public function test_credentials_that_the_server_does_not_take_are_a_problem(): void
    {
        $server = new RunningServer($this->scratch);

        foreach (['SECRET', 'KEY'] as $name) {
            $status = RunningServer::application($this->scratch, ["FANFARE_APP_{$name}" => 'another'])->artisan('fanfare:status', '--interval=0');

            self::assertSame(1, $status->exitCode());
            $words = (string) preg_replace('/\s+/', ' ', $status->transcript);
            self::assertStringContainsString('The server refuses broadcasts with the credentials of this configuration', $words);
            self::assertStringContainsString('If .env was changed since the server was started: `php artisan fanfare:restart`', $words);
        }

        $server->stop();
    }

    public function test_a_server_that_is_not_there_is_an_exit_code_and_a_remedy(): void
    {
        $application = RunningServer::application($this->scratch);
        $status = $application->artisan('fanfare:status');

        self::assertSame(1, $status->exitCode());
        self::assertStringContainsString('found no such file. Start it with `php artisan fanfare:start`', $status->transcript);

        [$code, $report] = self::json($application->artisan('fanfare:status', '--json'));
        self::assertSame(1, $code);
        self::assertSame('no_socket', $report['reason']);
    }

    public function test_a_server_that_was_killed_left_a_file_behind(): void
    {
        $server = new RunningServer($this->scratch);
        posix_kill($server->pid, SIGKILL);
        $server->command->exitCode();

        [$code, $report] = self::json($server->application->artisan('fanfare:status', '--json'));

        self::assertSame([1, 'nobody_listens'], [$code, $report['reason']]);
    }

    public function test_a_stranger_at_the_socket_is_told(): void
    {
        $stranger = stream_socket_server("unix://{$this->socket}");
        $status = RunningServer::application($this->scratch)->artisan('fanfare:status', '--interval=0');
        $client = stream_socket_accept($stranger, 30);
        fread($client, 8_192);
        fwrite($client, "HTTP/1.0 200 OK\r\n\r\n<html>");
        fclose($client);

        self::assertSame(1, $status->exitCode());
        self::assertStringContainsString('found an answer that is no JSON', $status->transcript);
    }

    public function test_a_socket_that_this_user_may_not_open_is_told_apart(): void
    {
        if (posix_geteuid() !== 0) {
            self::markTestSkipped('only root can become another user');
        }

        $server = new RunningServer($this->scratch, ['FANFARE_SOCKET_MODE' => '0600']);
        chmod($this->scratch->path(''), 0o755);

        self::assertSame('not_permitted', $this->asNobody());

        // The file allows it, the server does not.
        chmod($this->socket, 0o666);
        self::assertSame('not_allowed', $this->asNobody());

        $server->stop();
    }

    public function test_a_socket_path_that_is_too_long_is_a_mistake_of_the_configuration(): void
    {
        $application = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => '/tmp/'.str_repeat('x', 103)]);
        $status = $application->artisan('fanfare:status');

        self::assertSame(64, $status->exitCode());
        self::assertStringContainsString('that is 108 bytes', $status->transcript);
    }

    public function test_a_wrong_interval_is_refused(): void
    {
        $status = RunningServer::application($this->scratch)->artisan('fanfare:status', '--interval=soon');

        self::assertSame(64, $status->exitCode());
        self::assertStringContainsString('--interval: expected seconds from 0 to 3600, found "soon"', $status->transcript);
    }

    private function asNobody(): string
    {
        $file = $this->scratch->file('ask.php', sprintf(
            '<?php require %s; posix_setuid(65534); try { (new Fanfare\Laravel\Server\Inspector(%s))->status(); echo "reached\n"; }'
                .' catch (Fanfare\Laravel\Exceptions\ServerUnreachable $e) { echo $e->reason, "\n"; }',
            var_export(dirname(__DIR__).'/bootstrap.php', true),
            var_export($this->socket, true),
        ));
        $command = new RunningCommand([PHP_BINARY, $file]);
        $command->exitCode();

        return trim($command->transcript);
    }

    /**
     * @return array{int, array<string, mixed>}
     */
    private static function json(RunningCommand $command): array
    {
        return [$command->exitCode(), json_decode($command->transcript, true, flags: JSON_THROW_ON_ERROR)];
    }
}
