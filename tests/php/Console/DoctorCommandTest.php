<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Doctor\Check;
use Fanfare\Laravel\Doctor\Examination;
use Fanfare\Laravel\Doctor\FpmBinary;
use Fanfare\Laravel\Doctor\OctaneCheck;
use Fanfare\Laravel\Doctor\QueueCheck;
use Fanfare\Laravel\Doctor\Severity;
use Fanfare\Laravel\Doctor\Subject;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\ExaminesInstallations;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningFpm;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\ScratchApplication;
use PHPUnit\Framework\TestCase;
use RuntimeException;

/**
 * `php artisan fanfare:doctor` on installations that are broken in one place.
 */
final class DoctorCommandTest extends TestCase
{
    use ExaminesInstallations;
    use OwnDirectory;

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

        // Of one there is one.
        $one = $server->application->run(['fanfare:doctor'], ['PATH' => $this->fpmThatLoadsTheExtension(), 'QUEUE_CONNECTION' => 'sync']);
        self::assertSame(0, $one->exitCode());
        self::assertMatchesRegularExpression('/with (1 warning|[2-9] warnings)\./', $one->transcript);

        // The same for people.
        $text = $server->application->run(['fanfare:doctor'], ['PATH' => $this->fpmThatLoadsTheExtension()]);
        self::assertSame(0, $text->exitCode());
        self::assertStringContainsString('Everything works', $text->transcript);

        $server->stop();
    }

    public function test_an_extension_that_is_not_loaded_is_named_for_each_sapi_with_the_file_to_write(): void
    {
        $server = new RunningServer($this->scratch, ['FANFARE_FALLBACK' => 'none']);
        $fpm = new RunningFpm($this->scratch, 1, extension: false);
        $found = $this->examine($server->application, ['PHP_INI_SCAN_DIR' => null]);
        $fpm->stop();

        foreach (['Extension (command line)' => '/cli/', 'Extension (PHP-FPM)' => '/fpm/'] as $check => $place) {
            $error = self::error($found, $check);
            self::assertStringContainsString('load', $error['message']);
            self::assertStringContainsString('extension=', $error['remedy']);
            self::assertMatchesRegularExpression("#fanfare.ini in .*{$place}|{$place}|php.ini#", $error['remedy']);
        }

        self::assertStringContainsString('restart PHP-FPM', self::error($found, 'Extension (PHP-FPM)')['remedy']);

        // Other tests may have started one of their own.
        if (! FpmBinary::runs()) {
            $idle = self::one($this->examine($server->application, ['PHP_INI_SCAN_DIR' => null]), 'Extension (PHP-FPM)');
            self::assertSame('warning', $idle['severity']);
            self::assertStringContainsString('No php-fpm runs at the moment.', $idle['message']);
        }

        $server->stop();
    }

    public function test_an_extension_that_is_named_and_does_not_load_is_told_with_phps_words(): void
    {
        $application = RunningServer::application($this->scratch, ['FANFARE_FALLBACK' => 'none']);
        $real = FpmBinary::all((string) getenv('PATH'))[0]->path ?? self::markTestSkipped('there is no php-fpm here');
        $fpm = new RunningFpm($this->scratch, 1, extension: false);

        foreach (['/nonexistent/fanfare.so' => 'cannot open shared object file', $this->scratch->file('fanfare.so', 'broken') => 'file too short|invalid ELF header'] as $file => $reason) {
            $ini = ['Extension (command line)' => $this->scratch->file('cli/fanfare.ini', "extension={$file}\n")];
            $ini['Extension (PHP-FPM)'] = $this->scratch->file('fpm/fanfare.ini', "extension={$file}\n");
            $scan = $this->scratch->path('fpm');
            $this->scratch->file('bin/php-fpm', "#!/bin/sh\nPHP_INI_SCAN_DIR=:{$scan} exec {$real} \"\$@\"\n", 0o755);
            $found = $this->examine($application, ['PHP_INI_SCAN_DIR' => ":{$this->scratch->path('cli')}", 'PATH' => $this->scratch->path('bin').':/usr/bin:/bin'], through: ['sh', '-c', 'exec "$@" 2>/dev/null', 'quiet']);

            foreach ($ini as $check => $named) {
                $error = self::error($found, $check);
                self::assertStringContainsString("though {$named} names it: Unable to load dynamic library '{$file}'", $error['message']);
                self::assertMatchesRegularExpression("/{$reason}/", $error['message']);
                self::assertStringStartsWith("Correct its line \"extension=\" in {$named}", $error['remedy']);
            }
        }

        $fpm->stop();
    }

    public function test_what_pools_of_php_fpm_load_by_themselves_is_seen(): void
    {
        $file = (string) realpath(ChatApplication::path('../../target/fanfare.so'));
        $pool = fn (string $name, string $further): string => "[{$name}]\nlisten = {$this->scratch->path($name)}\nuser = root\npm = static\npm.max_children = 1\n{$further}\n";
        $application = RunningServer::application($this->scratch, ['FANFARE_FALLBACK' => 'none']);
        $fpm = new RunningFpm($this->scratch, 1, extension: false);
        $of = fn (string ...$pools): array => array_values(array_filter(
            $this->examine($application, ['PATH' => $this->fpmWith("[global]\nerror_log = /dev/stderr\n".implode($pools))]),
            static fn (array $finding): bool => $finding['check'] === 'Extension (PHP-FPM)',
        ));

        $loads = $pool('www', "php_admin_value[extension] = {$file}");
        $all = $of($loads);
        self::assertSame(['good', 'note'], array_column($all, 'severity'));
        self::assertStringStartsWith("The pool www loads {$file} by php_admin_value[extension]. Its version is not seen", $all[0]['message']);
        self::assertStringContainsString('process_control_timeout = 0', $all[1]['message']);
        self::assertStringContainsString('process_control_timeout = 10s', $all[1]['remedy']);

        $some = $of($loads, $pool('other', 'php_admin_value[memory_limit] = 64M'), $pool('third', 'php_admin_value[extension] = redis'));
        self::assertSame(['good', 'error', 'note'], array_column($some, 'severity'));
        self::assertStringContainsString('does not load the extension "fanfare" in the pool other, third: requests cannot broadcast.', $some[1]['message']);

        $absent = $of($pool('www', 'php_admin_value[extension] = /nonexistent/fanfare.so'));
        self::assertStringContainsString('is to load /nonexistent/fanfare.so by php_admin_value[extension], which is not there', self::error($absent, 'Extension (PHP-FPM)')['message']);

        // Without a path it is where PHP-FPM looks for it, with or without its ending.
        $named = $of($pool('www', 'php_admin_value[extension] = fanfare'));
        self::assertMatchesRegularExpression('#The pool www (is to load|loads) /\S+/fanfare\.so by#', $named[0]['message']);

        $unread = $of('[www');
        self::assertStringContainsString('what its pools load by php_admin_value is not seen', self::error($unread, 'Extension (PHP-FPM)')['message']);
        $fpm->stop();
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

    public function test_a_server_that_this_user_may_not_ask_or_that_has_another_socket_is_no_other_program(): void
    {
        $server = new RunningServer($this->scratch);
        $port = ['FANFARE_PORT' => (string) $server->port];
        chmod($this->socket, 0);
        chmod("{$this->socket}.lock", 0);

        $found = $this->examine(RunningServer::application($this->scratch, $port), through: ScratchApplication::withoutPrivileges());
        self::assertStringContainsString('may open the Unix socket', self::error($found, 'Server')['message']);
        self::assertStringContainsString('let it in by FANFARE_SOCKET_UIDS', self::error($found, 'Server')['remedy']);
        self::assertStringNotContainsString('.lock', implode("\n", array_column($found, 'message')));
        self::assertSame(
            ['note', "A server runs that this user may not ask, and something listens on 127.0.0.1:{$server->port}: a Fanfare server."],
            [self::one($found, 'Port')['severity'], self::one($found, 'Port')['message']],
        );
        self::assertStringContainsString("A WebSocket client connects to http://127.0.0.1:{$server->port}", implode("\n", array_column($found, 'message')));

        $found = $this->examine(RunningServer::application($this->scratch, $port + ['FANFARE_SOCKET' => $this->scratch->path('other.sock')]));
        self::assertSame("A Fanfare server with another socket listens on 127.0.0.1:{$server->port}.", self::error($found, 'Port')['message']);
        self::assertStringContainsString('Set FANFARE_SOCKET', self::error($found, 'Port')['remedy']);
        self::assertStringContainsString("A WebSocket client connects to http://127.0.0.1:{$server->port}", implode("\n", array_column($found, 'message')));

        $server->stop();
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

        $nothing = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_ID' => '', 'FANFARE_APP_KEY' => '', 'FANFARE_APP_SECRET' => '', 'FANFARE_BINARY' => '']), ['PATH' => '/usr/bin:/bin']);
        self::assertStringStartsWith('Run `php artisan fanfare:install`', self::error($nothing, 'Configuration')['remedy']);
        self::assertStringStartsWith('Run `php artisan fanfare:install`', self::error($nothing, 'Binary')['remedy']);
    }

    public function test_mistakes_that_only_the_server_knows_are_told_by_its_binary(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_KEY' => 'a key']));

        self::assertStringContainsString('apps[0].key', self::error($found, 'Binary')['message']);
        self::assertStringContainsString('FANFARE_APP_KEY', self::error($found, 'Binary')['remedy']);
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
        $remedies = implode("\n", array_column($this->examine($server->application), 'remedy'));
        self::assertStringContainsString("`chgrp www-data {$this->scratch->path('')} && chmod g+s {$this->scratch->path('')}`, with FANFARE_SOCKET_MODE=0660; then restart", $remedies);

        $server->stop();
    }

    public function test_credentials_that_the_server_does_not_have_are_told(): void
    {
        $server = new RunningServer($this->scratch);

        $secret = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_SECRET' => 'another-secret']));
        self::assertStringContainsString('A broadcast is not accepted', self::error($secret, 'Server')['message']);
        self::assertStringStartsWith('If .env was changed since the server was started: `php artisan fanfare:restart`.', self::error($secret, 'Server')['remedy']);

        $key = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_KEY' => 'another']));
        self::assertStringStartsWith('If .env was changed', self::error($key, 'Server')['remedy']);
        self::assertStringContainsString('`php artisan fanfare:restart`', self::error($key, 'Public URL')['remedy']);

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

    public function test_a_socket_that_could_not_be_made_is_told(): void
    {
        $this->scratch->file('fanfare.sock', '');
        mkdir($this->scratch->path('closed'), 0o500);

        $file = self::error($this->examine(RunningServer::application($this->scratch)), 'Socket');
        self::assertStringContainsString("{$this->socket} is a file, where the server wants to make its socket", $file['message']);
        self::assertStringContainsString('it is another kind of file; move it away', self::error($this->examine(RunningServer::application($this->scratch)), 'Server')['message']);

        $closed = RunningServer::application($this->scratch, ['FANFARE_SOCKET' => $this->scratch->path('closed/f.sock')]);
        $warnings = array_column(array_filter($this->examine($closed, through: ScratchApplication::withoutPrivileges()), static fn (array $finding): bool => $finding['check'] === 'Socket' && $finding['severity'] === 'warning'), 'message');
        self::assertCount(1, $warnings);
        self::assertStringContainsString("may not write to {$this->scratch->path('closed')}", $warnings[0]);
    }

    public function test_a_lock_that_a_server_of_another_user_has_left_is_told(): void
    {
        $this->scratch->file('fanfare.sock.lock', "1\n", 0);

        $lock = self::error($this->examine(RunningServer::application($this->scratch), through: ScratchApplication::withoutPrivileges()), 'Socket');
        self::assertStringContainsString("{$this->socket}.lock belongs to the user", $lock['message']);
        self::assertStringContainsString("stop it; then `rm {$this->socket}.lock`", $lock['remedy']);
    }

    public function test_another_port_than_the_configured_one_and_one_that_cannot_be_are_told(): void
    {
        $server = new RunningServer($this->scratch, ['FANFARE_PORT' => '1'], ['--port=0']);
        $other = self::one($this->examine($server->application), 'Port');
        self::assertSame(['warning', "The server listens on 127.0.0.1:{$server->port}, but the configuration says port 1."], [$other['severity'], $other['message']]);
        $server->stop();

        $elsewhere = $this->examine(RunningServer::application($this->scratch, ['FANFARE_HOST' => '192.0.2.1', 'FANFARE_PORT' => '8080']));
        self::assertStringContainsString('Cannot listen on 192.0.2.1:8080', self::error($elsewhere, 'Port')['message']);
        self::assertStringContainsString('FANFARE_HOST', self::error($elsewhere, 'Port')['remedy']);
    }

    public function test_a_limit_of_open_files_that_is_below_what_is_configured_is_told(): void
    {
        $found = self::one($this->examine(RunningServer::application($this->scratch), through: ['prlimit', '--nofile=4096:4096']), 'Open files');

        self::assertSame('warning', $found['severity']);
        self::assertStringContainsString('A server started from this shell may have 4,096 open, but 100,000 connections (connections_max)', $found['message']);
        self::assertStringContainsString('LimitNOFILE=', $found['remedy']);
    }

    public function test_an_extension_that_is_left_out_on_purpose_is_no_fault(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_TRANSPORT' => 'http']), ['PHP_INI_SCAN_DIR' => null]);

        foreach (['Extension (command line)', 'Extension (PHP-FPM)'] as $check) {
            self::assertSame('note', self::one($found, $check)['severity']);
            self::assertStringContainsString('FANFARE_TRANSPORT=http does not want it', self::one($found, $check)['message']);
        }
    }

    public function test_a_connection_that_does_not_exist_and_a_queue_that_throws_away_are_told(): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['BROADCAST_CONNECTION' => 'fanfair']));
        self::assertStringContainsString('is "fanfair", which does not exist', self::error($found, 'Broadcasting')['message']);

        $queue = [...(new QueueCheck)->findings(self::subject(queue: ['default' => 'nowhere', 'connections' => ['nowhere' => ['driver' => 'null']]]))][0];
        self::assertSame([Severity::Error, 'The queue is "null": ShouldBroadcast events are thrown away.'], [$queue->severity, $queue->message]);

        // Which Laravel's env() makes no text of, but nothing.
        $found = $this->examine(RunningServer::application($this->scratch, ['QUEUE_CONNECTION' => 'null']));
        self::assertSame('The queue is "null": ShouldBroadcast events are thrown away.', self::error($found, 'Queue')['message']);
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
     * @param  array<string, mixed>  $queue
     */
    private static function subject(array $packages = [], array $queue = []): Subject
    {
        return new Subject([], [], $queue, null, [], null, 'http://localhost', '', $packages, new BinaryLocator('/nonexistent', ''));
    }

    /**
     * @return list<string>
     */
    private function fpmUsers(): array
    {
        return (FpmBinary::all((string) getenv('PATH'))[0] ?? null)?->users() ?? [];
    }

    /**
     * A PATH with the real php-fpm, which reads a configuration of the test's own.
     */
    private function fpmWith(string $configuration): string
    {
        $real = FpmBinary::all((string) getenv('PATH'))[0]->path ?? self::markTestSkipped('there is no php-fpm here');
        $file = $this->scratch->file('php-fpm.conf', $configuration);
        $this->scratch->file('bin/php-fpm', "#!/bin/sh\nexec {$real} --allow-to-run-as-root --fpm-config {$file} \"\$@\"\n", 0o755);

        return $this->scratch->path('bin').':/usr/bin:/bin';
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
}
