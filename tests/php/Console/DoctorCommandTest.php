<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Doctor\Check;
use Fanfare\Laravel\Doctor\Examination;
use Fanfare\Laravel\Doctor\FpmBinary;
use Fanfare\Laravel\Doctor\OctaneCheck;
use Fanfare\Laravel\Doctor\Severity;
use Fanfare\Laravel\Doctor\Subject;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\Scratch;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use RuntimeException;

/**
 * `php artisan fanfare:doctor` on installations that are broken in one place.
 */
final class DoctorCommandTest extends TestCase
{
    private Scratch $scratch;

    protected function setUp(): void
    {
        $this->scratch = new Scratch;
    }

    protected function tearDown(): void
    {
        $this->scratch->remove();
    }

    public function test_a_sound_installation_has_no_errors(): void
    {
        chmod($this->scratch->path(''), 0o711);
        $uids = implode(',', array_filter(array_map(posix_getpwnam(...), $this->fpmUsers()) ?: []) ? array_map(static fn (string $name): int => posix_getpwnam($name)['uid'], $this->fpmUsers()) : []);
        $server = new RunningServer($this->scratch, ['FANFARE_SOCKET_UIDS' => $uids, 'FANFARE_SOCKET_MODE' => '0666']);
        $found = $this->examine($server->application, ['PATH' => $this->fpmThatLoadsTheExtension()], expected: 0);

        self::assertSame([], array_filter($found, static fn (array $finding): bool => $finding['severity'] === 'error'));

        $good = implode("\n", array_column(array_filter($found, static fn (array $finding): bool => $finding['severity'] === 'good'), 'message'));

        foreach ([
            'No mistakes in config/fanfare.php', 'The default connection "fanfare"', 'on the command line has loaded fanfare', 'loads fanfare',
            'It takes this configuration.', 'All of version', 'of at most 107 bytes', 'A broadcast with these credentials arrived in',
            "listens on 127.0.0.1:{$server->port}", "A WebSocket client connects to http://127.0.0.1:{$server->port}", 'queue connection "database"',
        ] as $words) {
            self::assertStringContainsString($words, $good);
        }

        // The same for people.
        $text = $server->application->run(['fanfare:doctor'], ['PATH' => $this->fpmThatLoadsTheExtension()]);
        self::assertSame(0, $text->exitCode());
        self::assertStringContainsString('Everything works', $text->transcript);

        $server->stop();
    }

    public function test_an_extension_that_is_not_loaded_is_named_for_each_sapi_with_the_file_to_write(): void
    {
        $server = new RunningServer($this->scratch, ['FANFARE_FALLBACK' => 'none']);
        $found = $this->examine($server->application, ['PHP_INI_SCAN_DIR' => null]);

        foreach (['Extension (command line)' => '/cli/', 'Extension (PHP-FPM)' => '/fpm/'] as $check => $place) {
            $error = self::error($found, $check);
            self::assertStringContainsString('load', $error['message']);
            self::assertStringContainsString('extension=', $error['remedy']);
            self::assertMatchesRegularExpression("#fanfare.ini in .*{$place}|{$place}|php.ini#", $error['remedy']);
        }

        self::assertStringContainsString('restart PHP-FPM', self::error($found, 'Extension (PHP-FPM)')['remedy']);

        $server->stop();
    }

    public function test_without_the_extension_the_slower_way_is_tried_and_named(): void
    {
        $server = new RunningServer($this->scratch);
        $found = $this->examine($server->application, ['PHP_INI_SCAN_DIR' => null]);

        self::assertSame('warning', self::one($found, 'Extension (command line)')['severity']);
        self::assertStringContainsString('broadcast by HTTP over the Unix socket', self::one($found, 'Extension (command line)')['message']);
        self::assertStringContainsString('by HTTP over the Unix socket.', implode("\n", array_column($found, 'message')));

        $server->stop();
    }

    public function test_without_a_server_a_port_of_somebody_else_is_told(): void
    {
        $stranger = stream_socket_server('tcp://127.0.0.1:0');
        $port = substr((string) strrchr((string) stream_socket_get_name($stranger, false), ':'), 1);
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_PORT' => $port]));

        self::assertStringContainsString('found no such file. Start it with', self::error($found, 'Server')['message']);
        self::assertSame("Another program listens on 127.0.0.1:{$port}.", self::error($found, 'Port')['message']);
        self::assertStringContainsString('ss -ltnp', self::error($found, 'Port')['remedy']);
    }

    public function test_a_server_that_is_frozen_is_told_from_one_that_is_not_there(): void
    {
        $server = new RunningServer($this->scratch);
        posix_kill($server->pid, SIGSTOP);

        $found = $this->examine($server->application);
        posix_kill($server->pid, SIGCONT);

        self::assertStringContainsString('within 2000 ms, found none', self::error($found, 'Server')['message']);

        $server->stop();
    }

    public function test_a_configuration_with_mistakes_is_told_and_what_needs_it_is_left_out(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_SOCKET' => '/tmp/'.str_repeat('x', 103), 'FANFARE_APP_SECRET' => '']));
        $messages = implode("\n", array_column(array_filter($found, static fn (array $finding): bool => $finding['check'] === 'Configuration'), 'message'));

        self::assertStringContainsString('that is 108 bytes', $messages);
        self::assertStringContainsString('FANFARE_APP_SECRET', $messages);
        self::assertSame('note', self::one($found, 'Server')['severity']);
    }

    public function test_mistakes_that_only_the_server_knows_are_told_by_its_binary(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_KEY' => 'a key']));

        self::assertStringContainsString('apps[0].key', self::error($found, 'Binary')['message']);
    }

    public function test_a_directory_that_is_not_there_is_told(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_SOCKET' => $this->scratch->path('absent/f.sock')]));

        self::assertStringContainsString('absent does not exist', self::error($found, 'Socket')['message']);
    }

    public function test_permissions_that_keep_php_fpm_out_are_told_one_by_one(): void
    {
        if (posix_geteuid() !== 0 || ! in_array('www-data', $this->fpmUsers(), true)) {
            self::markTestSkipped('needs a PHP-FPM that runs as www-data, and root to see its pools');
        }

        $server = new RunningServer($this->scratch, ['FANFARE_SOCKET_MODE' => '0600']);
        $found = array_column(array_filter($this->examine($server->application), static fn (array $finding): bool => $finding['check'] === 'Socket' && $finding['severity'] === 'error'), 'message');

        self::assertCount(3, $found);
        self::assertStringContainsString('The server turns away the user www-data', $found[0]);
        self::assertStringContainsString("may not enter {$this->scratch->path('')}", $found[1]);
        self::assertStringContainsString('may not write to the socket', $found[2]);

        $server->stop();
    }

    public function test_credentials_that_the_server_does_not_have_are_told(): void
    {
        $server = new RunningServer($this->scratch);

        $secret = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_SECRET' => 'another-secret']));
        self::assertStringContainsString('A broadcast is not accepted', self::error($secret, 'Server')['message']);

        $id = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_ID' => 'other']));
        self::assertStringContainsString('It does not know the app other of this configuration, but test', self::error($id, 'Server')['message']);

        $server->stop();
    }

    public function test_a_binary_that_does_not_run_and_one_of_another_version_are_told(): void
    {
        $server = new RunningServer($this->scratch);
        $binary = $this->scratch->file('broken', 'not a program', 0o700);

        $broken = self::error($this->examine(RunningServer::application($this->scratch, ['FANFARE_BINARY' => $binary])), 'Binary');
        self::assertStringContainsString("Expected {$binary} --version", $broken['message']);

        $other = $this->scratch->file('other', "#!/bin/sh\n[ \"\$1\" = --version ] && echo 'fanfare 9.9.9'\n", 0o700);
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_BINARY' => $other]));
        self::assertStringContainsString('binary 9.9.9, running server', self::error($found, 'Versions')['message']);

        $missing = $this->examine(RunningServer::application($this->scratch, ['FANFARE_BINARY' => '/nonexistent/fanfare']));
        self::assertStringContainsString('found nothing there', self::error($missing, 'Binary')['message']);

        $server->stop();
    }

    #[DataProvider('proxies')]
    public function test_a_proxy_is_tried_by_really_connecting_through_it(string $mode, string $severity, string $words): void
    {
        $server = new RunningServer($this->scratch);
        $proxy = new RunningCommand([PHP_BINARY, __DIR__.'/fixtures/proxy.php', $mode, (string) $server->port]);
        $port = substr($proxy->line('port '), strlen('port '));

        $found = $this->examine($server->application, options: ["--url=http://127.0.0.1:{$port}"]);
        self::assertSame($severity, self::one($found, 'Public URL')['severity']);
        self::assertStringContainsString($words, self::one($found, 'Public URL')['message']);

        $server->stop();
    }

    /**
     * @return iterable<string, array{string, string, string}>
     */
    public static function proxies(): iterable
    {
        yield 'passes on' => ['pass', 'good', 'A WebSocket client connects'];
        yield 'drops the headers' => ['strip', 'error', 'does not pass on the headers Upgrade and Connection'];
        yield 'does not reach it' => ['502 Bad Gateway', 'error', 'does not reach the server'];
        yield 'has no such location' => ['404 Not Found', 'error', 'does not pass /app/'];
        yield 'redirects' => ["301 Moved\r\nLocation: https://app.example/", 'error', 'a redirection to https://app.example/'];
        yield 'answers itself' => ['200 OK', 'error', 'it is not Fanfare that answers'];
    }

    #[DataProvider('urls')]
    public function test_a_url_that_leads_nowhere_is_told(string $url, string $words): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_URL' => $url]));

        self::assertStringContainsString($words, self::error($found, 'Public URL')['message']);
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public static function urls(): iterable
    {
        yield 'nobody there' => ['http://127.0.0.1:1', 'cannot connect: Connection refused'];
        yield 'no URL' => ['app.example', 'expected a URL such as'];
        yield 'no name' => ['https://fanfare.invalid', 'cannot connect: '];
    }

    public function test_another_key_and_no_tls_are_told_apart(): void
    {
        $server = new RunningServer($this->scratch);

        $tls = $this->examine($server->application, options: ["--url=https://127.0.0.1:{$server->port}"]);
        self::assertStringContainsString('cannot connect', self::error($tls, 'Public URL')['message']);
        self::assertStringContainsString('certificate', self::error($tls, 'Public URL')['remedy']);

        $other = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_KEY' => 'other-key']), options: ["--url=http://127.0.0.1:{$server->port}"]);
        self::assertStringContainsString('no app with this key', self::error($other, 'Public URL')['message']);

        $server->stop();
    }

    public function test_broadcasting_through_something_else_and_queues_that_matter_are_told(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['BROADCAST_CONNECTION' => 'log', 'QUEUE_CONNECTION' => 'sync']));

        self::assertStringContainsString('is "log", of the driver log', self::error($found, 'Broadcasting')['message']);
        self::assertSame('warning', self::one($found, 'Queue')['severity']);
    }

    public function test_a_cached_configuration_that_is_older_than_its_sources_is_told(): void
    {
        $application = RunningServer::application($this->scratch);
        $cache = ['APP_CONFIG_CACHE' => $this->scratch->path('config.php')];
        self::assertSame(0, $application->run(['config:cache'], $cache)->exitCode());

        $fresh = array_filter($this->examine($application, $cache), static fn (array $finding): bool => str_contains($finding['message'], 'cached'));
        self::assertSame(['note'], array_column($fresh, 'severity'));

        touch($this->scratch->path('.env'), time() + 60);
        $stale = array_filter($this->examine($application, $cache), static fn (array $finding): bool => str_contains($finding['message'], 'cached'));
        self::assertSame(['warning'], array_column($stale, 'severity'));
        self::assertStringContainsString($this->scratch->path('.env'), array_values($stale)[0]['message']);
    }

    public function test_octane_is_noticed(): void
    {
        $of = static fn (array $packages): Severity => [...(new OctaneCheck)->findings(self::subject($packages))][0]->severity;

        self::assertSame(Severity::Note, $of(['laravel/octane']));
        self::assertSame(Severity::Good, $of([]));
    }

    public function test_a_check_that_fails_itself_is_a_finding_and_the_others_go_on(): void
    {
        $broken = new class implements Check
        {
            public function title(): string
            {
                return 'Broken';
            }

            public function findings(Subject $subject): iterable
            {
                throw new RuntimeException('out of order');
            }
        };
        $found = [];

        foreach ((new Examination([$broken, new OctaneCheck]))->of(self::subject()) as $title => $finding) {
            $found[$title] = $finding->severity;
        }

        self::assertSame(['Broken' => Severity::Error, 'Octane' => Severity::Good], $found);
    }

    /**
     * @param  list<string>  $packages
     */
    private static function subject(array $packages = []): Subject
    {
        return new Subject([], [], [], null, [], null, 'http://localhost', '', $packages, new BinaryLocator('/nonexistent', ''));
    }

    /**
     * @return list<string>
     */
    private function fpmUsers(): array
    {
        return FpmBinary::all((string) getenv('PATH'))[0]->users ?? [];
    }

    /**
     * A PATH with the real php-fpm, started with the ini files of this PHP's extension.
     */
    private function fpmThatLoadsTheExtension(): string
    {
        $real = FpmBinary::all((string) getenv('PATH'))[0]->path ?? self::markTestSkipped('there is no php-fpm here');
        $ini = ChatApplication::path('../../target/php.d');
        $this->scratch->file('bin/php-fpm', "#!/bin/sh\nPHP_INI_SCAN_DIR=:{$ini} exec {$real} \"\$@\"\n", 0o755);

        return $this->scratch->path('bin').':/usr/bin:/bin';
    }

    /**
     * @param  array<string, string|null>  $environment
     * @param  list<string>  $options
     * @return list<array{check: string, severity: string, message: string, remedy: string}>
     */
    private function examine(ScratchApplication $application, array $environment = [], array $options = [], int $expected = 1): array
    {
        $command = $application->run(['fanfare:doctor', '--json', ...$options], $environment);
        $code = $command->exitCode();
        $report = json_decode($command->transcript, true, flags: JSON_THROW_ON_ERROR);

        self::assertSame([$code === 0, $expected], [$report['healthy'], $code], $command->transcript);

        foreach ($report['findings'] as $finding) {
            // Whoever is told of a fault is told what to do.
            self::assertTrue($finding['remedy'] !== '' || in_array($finding['severity'], ['good', 'note'], true), $finding['message']);
            self::assertStringNotContainsString('The check itself failed', $finding['message']);
        }

        return $report['findings'];
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     * @return array{check: string, severity: string, message: string, remedy: string}
     */
    private static function one(array $found, string $check): array
    {
        $of = array_values(array_filter($found, static fn (array $finding): bool => $finding['check'] === $check));

        return $of[0] ?? self::fail("no finding of {$check}");
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     * @return array{check: string, severity: string, message: string, remedy: string}
     */
    private static function error(array $found, string $check): array
    {
        foreach ($found as $finding) {
            if ($finding['check'] === $check && $finding['severity'] === 'error') {
                return $finding;
            }
        }

        self::fail("no error of {$check} in ".json_encode($found, JSON_PRETTY_PRINT));
    }
}
