<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Server;

use Fanfare\Laravel\Tests\Support\Certificate;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:start` with the real server.
 */
final class StartCommandTest extends TestCase
{
    use OwnDirectory;

    private string $secret;

    protected function setUp(): void
    {
        $this->secret = bin2hex(random_bytes(16));
    }

    public function test_it_serves_and_leaves_in_good_order_when_it_is_told_to(): void
    {
        foreach ([SIGTERM, SIGINT] as $signal) {
            $command = $this->start();
            $port = self::port($command);

            self::assertSame('{"health":"OK"}', file_get_contents("http://127.0.0.1:{$port}/up"));
            self::assertSame('socket', filetype($this->socket));

            self::assertSame(0, $command->signal($signal)->exitCode(), $command->transcript);
            self::assertFileDoesNotExist($this->socket);
        }
    }

    public function test_what_the_environment_says_reaches_the_server(): void
    {
        $command = $this->start([
            'FANFARE_PATH' => '/ws',
            'FANFARE_TRUSTED_PROXIES' => '127.0.0.1, 10.0.0.0/8',
            'FANFARE_APP_ENABLED' => 'true',
            'FANFARE_APP_CLIENT_EVENTS' => 'false',
            'FANFARE_APP_SUBSCRIPTION_COUNT' => 'true',
            'FANFARE_APP_ALLOWED_ORIGINS' => 'https://example.com, *.example.com',
            'FANFARE_APP_MISSING_ORIGIN' => 'refuse',
            'FANFARE_LOG_LEVEL' => 'debug',
        ]);
        $port = self::port($command);

        self::assertStringContainsString(' 426 ', self::handshake($port, '/ws/app/test-key', []));
        self::assertStringContainsString(' 404 ', self::handshake($port, '/app/test-key', []));

        $upgrade = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='];
        self::handshake($port, '/ws/app/test-key', [...$upgrade, 'Origin: https://a.example.com', 'X-Forwarded-For: 203.0.113.9']);
        self::assertStringContainsString('203.0.113.9', $command->line('a client is let in'));

        foreach ([['Origin: https://evil.test'], []] as $origin) {
            self::handshake($port, '/ws/app/test-key', [...$upgrade, ...$origin]);
            self::assertStringContainsString('4009', $command->line('a client is refused'));
        }

        self::assertSame(0, $command->signal(SIGTERM)->exitCode());
    }

    public function test_sighup_renews_the_certificate_and_says_what_it_cannot_read_again(): void
    {
        [$certificate, $key] = [$this->scratch->path('fullchain.pem'), $this->scratch->path('privkey.pem')];
        Certificate::selfSigned($certificate, $key);
        $command = $this->start(['FANFARE_TLS_CERTIFICATE' => $certificate, 'FANFARE_TLS_KEY' => $key]);
        $port = self::port($command);
        $trusted = stream_context_create(['ssl' => ['cafile' => $certificate, 'peer_name' => 'localhost']]);

        self::assertSame('{"health":"OK"}', file_get_contents("https://127.0.0.1:{$port}/up", context: $trusted));

        Certificate::selfSigned($certificate, $key);
        $command->signal(SIGHUP);
        self::assertStringContainsString('fanfare:start', $command->line('came on standard input'));
        $command->line('certificate and key are read again');

        // What is trusted now is the new one.
        self::assertSame('{"health":"OK"}', file_get_contents("https://127.0.0.1:{$port}/up", context: $trusted));
        self::assertSame(0, $command->signal(SIGTERM)->exitCode());
    }

    public function test_a_closed_terminal_leaves_no_server_behind(): void
    {
        $command = $this->start(terminal: true);
        self::port($command);
        $server = self::serverOf($command);

        self::assertSame(0, $command->hangUp());
        self::assertFalse(posix_kill($server, 0), 'the server is gone too');
        self::assertFileDoesNotExist($this->socket);
    }

    public function test_no_secret_is_in_any_process_list(): void
    {
        $command = $this->start();
        self::port($command);

        $seen = 0;

        foreach (glob('/proc/[0-9]*') ?: [] as $process) {
            $shown = @file_get_contents("{$process}/cmdline").@file_get_contents("{$process}/environ");
            $seen += str_contains($shown, "--config\0-") ? 1 : 0;

            self::assertStringNotContainsString($this->secret, $shown, $process);
        }

        self::assertGreaterThan(0, $seen, 'the server itself was among what was looked at');
        self::assertStringNotContainsString($this->secret, $command->transcript);

        $command->signal(SIGTERM)->exitCode();
        self::assertStringNotContainsString($this->secret, $command->transcript);
    }

    public function test_options_win_over_the_configuration(): void
    {
        $socket = $this->scratch->path('other.sock');
        $command = $this->start(['FANFARE_HOST' => '127.0.0.9', 'FANFARE_PORT' => '1', 'FANFARE_LOG_LEVEL' => 'warn'], [
            '--host=127.0.0.1', '--port=0', "--socket={$socket}", '--debug',
        ]);

        $serving = json_decode($command->line('"serving"'), true, flags: JSON_THROW_ON_ERROR);

        self::assertStringContainsString('127.0.0.1:', json_encode($serving));
        self::assertSame('socket', filetype($socket));
        self::assertSame(0, $command->signal(SIGTERM)->exitCode());
    }

    public function test_mistakes_in_laravels_configuration_are_told_all_at_once(): void
    {
        $command = $this->start(['FANFARE_APP_SECRET' => '', 'FANFARE_PORT' => 'http', 'FANFARE_SOCKET' => 'fanfare.sock']);

        self::assertSame(64, $command->exitCode());

        foreach (['fanfare.apps.0.secret: ', 'fanfare.server.port: ', 'fanfare.socket: '] as $mistake) {
            self::assertStringContainsString("\n  - {$mistake}expected ", $command->transcript);
        }
    }

    public function test_a_mistake_of_the_command_line_is_told_as_its_own(): void
    {
        $command = $this->start([], ['--port=abc']);

        self::assertSame(64, $command->exitCode());
        self::assertStringContainsString('--port: expected a whole number from 0 to 65535, found "abc"', $command->transcript);
        self::assertStringNotContainsString('config/fanfare.php', $command->transcript);
    }

    public function test_what_only_keeps_php_from_broadcasting_is_a_warning(): void
    {
        $command = $this->start(['FANFARE_TRANSPORT' => 'pigeon']);
        $command->line('PHP cannot broadcast');
        $command->line('fanfare.publish.transport: expected one of auto, ring, socket, http, found "pigeon"');
        self::port($command);

        self::assertSame(0, $command->signal(SIGTERM)->exitCode());
    }

    public function test_mistakes_that_only_the_server_knows_come_through_with_its_exit_code(): void
    {
        // Laravel has no opinion on the characters of a key; the server has.
        $command = $this->start(['FANFARE_APP_KEY' => 'a key']);

        self::assertSame(64, $command->exitCode());
        self::assertStringContainsString('apps[0].key', $command->transcript);
    }

    public function test_a_server_that_cannot_serve_says_why_with_its_exit_code(): void
    {
        $command = $this->start(['FANFARE_SOCKET' => $this->scratch->path('absent/fanfare.sock')]);

        self::assertSame(1, $command->exitCode());
        self::assertStringContainsString('cannot serve', $command->transcript);
        self::assertStringContainsString('absent/fanfare.sock', $command->transcript);
    }

    public function test_a_lock_that_a_server_of_another_user_has_left_is_told_with_its_owner(): void
    {
        $lock = $this->scratch->file('other.sock.lock', "1\n", 0);
        $application = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => $this->scratch->path('other.sock')]);
        $command = $application->run(['fanfare:start'], through: ScratchApplication::withoutPrivileges());

        self::assertSame(1, $command->exitCode());
        self::assertStringContainsString("cannot lock {$lock}: it belongs to user ".posix_geteuid()."; if that user's server runs, stop it; then remove the file", $command->transcript);
    }

    /**
     * @param  array<string, string>  $env
     */
    #[DataProvider('missingBinaries')]
    public function test_a_missing_binary_is_explained(array $env, string $words): void
    {
        $command = $this->start($env);

        self::assertSame(1, $command->exitCode());
        self::assertStringContainsString($words, $command->transcript);
    }

    /**
     * @return iterable<string, array{array<string, string>, string}>
     */
    public static function missingBinaries(): iterable
    {
        yield 'configured' => [['FANFARE_BINARY' => '/nonexistent/fanfare'], 'expected the server\'s executable at /nonexistent/fanfare, found nothing there'];
        yield 'something else' => [['FANFARE_BINARY' => '/bin/true'], 'Expected /bin/true --version to say "fanfare" and a version'];
        yield 'looked for' => [['FANFARE_BINARY' => ''], 'Looked at:'];
    }

    public function test_a_server_that_is_killed_is_reported(): void
    {
        $command = $this->start();
        self::port($command);

        posix_kill(self::serverOf($command), SIGKILL);

        self::assertSame(128 + SIGKILL, $command->exitCode());
        self::assertStringContainsString('The server was ended by signal 9 (out of memory? See `dmesg`).', $command->transcript);
    }

    /**
     * @param  array<string, string>  $env
     * @param  list<string>  $options
     */
    private function start(array $env = [], array $options = [], bool $terminal = false): RunningCommand
    {
        $application = new ScratchApplication($this->scratch, $env + [
            'FANFARE_APP_ID' => 'test',
            'FANFARE_APP_KEY' => 'test-key',
            'FANFARE_APP_SECRET' => $this->secret,
            'FANFARE_SOCKET' => $this->socket,
            'FANFARE_HOST' => '127.0.0.1',
            'FANFARE_PORT' => '0',
            'FANFARE_SHARDS' => '1',
            'FANFARE_LOG_FORMAT' => 'json',
            'FANFARE_BINARY' => ChatApplication::serverBinary(),
        ]);

        return $application->run(['fanfare:start', ...$options], terminal: $terminal);
    }

    private static function serverOf(RunningCommand $command): int
    {
        return (int) file_get_contents("/proc/{$command->pid()}/task/{$command->pid()}/children");
    }

    /**
     * The first line of the answer.
     *
     * @param  list<string>  $headers
     */
    private static function handshake(int $port, string $path, array $headers): string
    {
        $stream = stream_socket_client("tcp://127.0.0.1:{$port}");
        fwrite($stream, implode("\r\n", ["GET {$path} HTTP/1.1", 'Host: localhost', ...$headers, '', '']));

        return (string) fgets($stream);
    }

    private static function port(RunningCommand $command): int
    {
        $line = $command->line('"serving"');
        self::assertMatchesRegularExpression('/127\.0\.0\.1:(\d+)/', $line);
        preg_match('/127\.0\.0\.1:(\d+)/', $line, $matches);

        return (int) $matches[1];
    }
}
