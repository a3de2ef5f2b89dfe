<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Doctor\RedisRights;
use Fanfare\Laravel\Tests\Support\Certificate;
use Fanfare\Laravel\Tests\Support\ExaminesInstallations;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\Patience;
use Fanfare\Laravel\Tests\Support\RunningNginx;
use Fanfare\Laravel\Tests\Support\RunningRedis;
use Fanfare\Laravel\Tests\Support\RunningServer;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;
use Redis;

/**
 * What `fanfare:doctor` says about Redis, with real ones that are broken in one place.
 */
final class DoctorRedisTest extends TestCase
{
    use ExaminesInstallations;
    use OwnDirectory;

    /** @var list<RunningRedis> */
    private array $started = [];

    protected function tearDown(): void
    {
        array_map(static fn (RunningRedis $redis): int => $redis->stop(), $this->started);
    }

    public function test_without_redis_there_is_one_server_and_no_fault(): void
    {
        $found = $this->of([]);

        self::assertSame([['note', 'None is configured: this is one server alone.']], self::words($found));
    }

    public function test_what_is_sound_is_said_with_the_connection_that_is_used(): void
    {
        [$host, $port] = [self::host(), (string) RunningNginx::freePort()];
        $this->redis(['--bind', $host, '--port', $port, '--requirepass', 'hunter2']);
        $env = ['FANFARE_REDIS_CONNECTION' => 'default', 'REDIS_HOST' => $host, 'REDIS_PORT' => $port, 'REDIS_PASSWORD' => 'hunter2'];
        $server = new RunningServer($this->scratch, $env);
        $ready = static fn (): bool => str_contains((string) @file_get_contents("http://127.0.0.1:{$server->port}/ready"), '"ready"');
        Patience::until('the server to be ready', $ready);

        $found = $this->of($env);
        self::assertSame(['good', 'good', 'good', 'good'], array_column($found, 'severity'), self::text($found));
        self::assertStringContainsString("The connection \"default\" of database.redis: redis://{$host}:{$port} (one server); names begin with fanfare:", $found[0]['message']);
        self::assertStringContainsString('The running server is connected, 1 in the fleet.', $found[1]['message']);
        self::assertMatchesRegularExpression("/^Redis [\d.]+ at {$host}:{$port} answers here/", $found[2]['message']);
        self::assertSame('It lets the user default do all that is needed.', $found[3]['message']);
        self::assertStringNotContainsString('hunter2', self::text($found));
        $server->stop();
    }

    public function test_a_server_without_the_redis_that_is_configured_or_with_one_that_is_away_is_told(): void
    {
        $redis = $this->redis();
        $server = new RunningServer($this->scratch);
        $url = ['FANFARE_REDIS_URL' => "unix:{$redis->socket}"];
        self::assertContains(['error', 'The running server was started without it: it is alone.'], self::words($this->of($url)));
        $server->stop();

        $server = new RunningServer($this->scratch, $url);
        Patience::until('the server to be ready', static fn (): bool => str_contains((string) @file_get_contents("http://127.0.0.1:{$server->port}/ready"), '"ready"'));
        self::assertContains(['warning', 'The running server hears others over a Redis, but this configuration names none: after a restart it is alone.'], self::words($this->of([])));
        array_pop($this->started)?->stop();
        Patience::until('the server to notice', static fn (): bool => str_contains((string) @file_get_contents("http://127.0.0.1:{$server->port}/ready"), 'degraded'));

        $found = $this->of($url);
        self::assertSame(['good', 'error', 'error'], array_column($found, 'severity'), self::text($found));
        self::assertStringContainsString('The running server does without it: ', $found[1]['message']);
        self::assertStringContainsString("Redis at {$redis->socket} cannot be reached: ", $found[2]['message']);
        $server->stop();
    }

    /**
     * @param  list<string>  $options  of Redis; {host} and {port} are free
     * @param  array<string, string>  $env
     */
    #[DataProvider('faults')]
    public function test_what_is_wrong_is_told_with_what_to_do(array $options, array $env, string $message, string $remedy): void
    {
        $place = ['{host}' => self::host(), '{port}' => (string) RunningNginx::freePort()];
        $fill = static fn (string $text): string => strtr($text, $place);
        $options === ['down'] || $this->redis(array_map($fill, $options));
        $found = $this->of(array_map($fill, $env));
        $error = self::error($found, 'Redis');

        self::assertStringContainsString($message, $error['message']);
        self::assertStringContainsString($remedy, $error['remedy']);
        self::assertStringNotContainsString('hunter2', self::text($found));
    }

    /**
     * @return iterable<string, array{list<string>, array<string, string>, string, string}>
     */
    public static function faults(): iterable
    {
        $plain = ['--bind', '{host}', '--port', '{port}'];
        $url = ['FANFARE_REDIS_URL' => 'redis://{host}:{port}'];

        yield 'nobody there' => [['down'], $url, 'cannot be reached: Connection refused', 'See whether it runs'];
        yield 'no such name' => [['down'], ['FANFARE_REDIS_URL' => 'redis://redis.invalid'], 'the name redis.invalid is not known here', 'Correct the host'];
        yield 'no password' => [[...$plain, '--requirepass', 'secret'], $url, 'asks for a password, and none is configured', 'FANFARE_REDIS_PASSWORD'];
        yield 'a wrong password' => [[...$plain, '--requirepass', 'secret'], $url + ['FANFARE_REDIS_PASSWORD' => 'hunter2'], 'refuses the password of the user default', 'FANFARE_REDIS_PASSWORD'];
        yield 'a wrong password in the URL' => [[...$plain, '--requirepass', 'secret'], ['FANFARE_REDIS_URL' => 'redis://me:hunter2@{host}:{port}'], 'refuses the password of the user me', 'FANFARE_REDIS_USERNAME'];
        yield 'no cluster' => [$plain, $url + ['FANFARE_REDIS_CLUSTER' => 'true'], 'Expected a cluster server', 'Leave FANFARE_REDIS_CLUSTER out'];
        yield 'a cluster' => [[...$plain, '--cluster-enabled', 'yes'], $url, 'found a cluster one', 'FANFARE_REDIS_CLUSTER=true'];
        yield 'no Sentinel' => [$plain, $url + ['FANFARE_REDIS_SENTINEL' => 'main'], 'Expected a sentinel server', 'Leave FANFARE_REDIS_SENTINEL out'];
        yield 'a replica' => [[...$plain, '--replicaof', '127.0.0.1 1'], $url, 'found a replica', 'Name the primary'];
        yield 'TLS to a port without' => [$plain, ['FANFARE_REDIS_URL' => 'rediss://{host}:{port}'], 'cannot connect', 'write redis:// instead of rediss://'];
    }

    public function test_tls_that_is_left_out_and_a_certificate_of_nobody_are_told(): void
    {
        [$certificate, $key, $port] = [$this->scratch->path('redis.pem'), $this->scratch->path('redis.key'), (string) RunningNginx::freePort()];
        $host = self::host();
        Certificate::selfSigned($certificate, $key, $host);
        $this->redis(['--bind', $host, '--tls-port', $port, '--tls-cert-file', $certificate, '--tls-key-file', $key, '--tls-ca-cert-file', $certificate, '--tls-auth-clients', 'no']);

        $plain = self::error($this->of(['FANFARE_REDIS_URL' => "redis://{$host}:{$port}"]), 'Redis');
        self::assertStringContainsString('Expected an answer of Redis', $plain['message']);
        self::assertStringContainsString('write rediss:// instead of redis://', $plain['remedy']);

        $distrusted = self::error($this->of(['FANFARE_REDIS_URL' => "rediss://{$host}:{$port}"]), 'Redis');
        self::assertStringContainsString('the certificate is self-signed', $distrusted['message']);
        self::assertStringContainsString('FANFARE_REDIS_CA_FILE', $distrusted['remedy']);

        $trusted = $this->of(['FANFARE_REDIS_URL' => "rediss://{$host}:{$port}", 'FANFARE_REDIS_CA_FILE' => $certificate]);
        self::assertStringContainsString('answers here', self::text($trusted));
    }

    public function test_what_a_user_may_not_do_is_named_as_the_command_that_allows_it(): void
    {
        $redis = $this->redis();
        $administrator = new Redis;
        $administrator->connect($redis->socket);
        $env = ['FANFARE_REDIS_URL' => "unix:{$redis->socket}", 'FANFARE_REDIS_USERNAME' => 'fanfare', 'FANFARE_REDIS_PASSWORD' => 'hunter2'];
        $document = (string) file_get_contents(dirname(__DIR__, 3).'/docs/configuration.md');
        self::assertSame(1, preg_match('/^    ACL SETUSER fanfare on >PASSWORD (.*)$/m', $document, $matches));
        $rules = explode(' ', $matches[1]);
        $sharded = ['spublish', 'ssubscribe', 'sunsubscribe', 'cluster|slots'];
        self::assertEqualsCanonicalizing(
            array_values(array_diff(RedisRights::names(), $sharded)),
            array_values(array_map(static fn (string $rule): string => substr($rule, 1), array_filter($rules, static fn (string $rule): bool => $rule[0] === '+' && ! in_array($rule, ['+auth', '+client|setinfo'], true)))),
            'what is tried is what the document lists',
        );

        $allow = static fn (array $rules) => $administrator->rawCommand('ACL', 'SETUSER', 'fanfare', 'reset', 'on', '>hunter2', ...$rules);
        $allow($rules);
        $found = $this->of($env);
        self::assertSame(['good', 'good', 'good', 'note', 'note'], array_column($found, 'severity'), self::text($found));
        self::assertSame('It lets the user fanfare do all that is needed.', $found[2]['message']);
        self::assertSame([], $administrator->keys('*'), 'nothing stays');

        foreach ([
            ['+hincrby', 'error', 'The user fanfare lacks +hincrby: events pass, but members'],
            ['+evalsha', 'error', 'The user fanfare lacks +evalsha: events pass, but members'],
            ['+sadd', 'error', 'The user fanfare lacks +sadd: events pass, but members'],
            ['+subscribe', 'error', 'The user fanfare lacks +subscribe: servers do not hear each other'],
            ['&fanfare:*', 'error', 'The user fanfare lacks &fanfare:*: servers do not hear each other'],
            ['~fanfare:*', 'error', 'The user fanfare lacks ~fanfare:*: events pass, but members'],
            ['+pubsub|numsub', 'warning', 'The user fanfare lacks +pubsub|numsub: after Redis was away'],
        ] as [$rule, $severity, $message]) {
            $allow(array_values(array_diff($rules, [$rule])));
            $lacking = $this->of($env)[2];
            self::assertSame($severity, $lacking['severity'], $lacking['message']);
            self::assertStringStartsWith($message, $lacking['message']);
            self::assertStringStartsWith("`ACL SETUSER fanfare {$rule}`", $lacking['remedy']);
            self::assertSame([], $administrator->keys('*'), 'nothing stays');
        }
    }

    public function test_settings_that_may_lose_something_are_warned_of(): void
    {
        $redis = $this->redis(['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru', '--client-output-buffer-limit', 'pubsub 1mb 1mb 10']);
        $warnings = array_values(array_filter($this->of(['FANFARE_REDIS_URL' => "unix:{$redis->socket}"]), static fn (array $finding): bool => $finding['severity'] === 'warning'));

        self::assertCount(2, $warnings, self::text($warnings));
        self::assertStringContainsString('(100 MiB), Redis evicts any key (allkeys-lru)', $warnings[0]['message']);
        self::assertStringContainsString('for which more than 1048576 bytes wait', $warnings[1]['message']);
    }

    /**
     * An address of this machine at which nobody has the port that is free at another.
     */
    private static function host(): string
    {
        return '127.'.random_int(1, 254).'.'.random_int(1, 254).'.'.random_int(2, 254);
    }

    /**
     * @param  list<string>  $options
     */
    private function redis(array $options = []): RunningRedis
    {
        return $this->started[] = new RunningRedis($this->scratch, 'redis', $options);
    }

    /**
     * @param  array<string, string>  $env
     * @return list<array{check: string, severity: string, message: string, remedy: string}>
     */
    private function of(array $env): array
    {
        $found = $this->examine(RunningServer::application($this->scratch, $env), expected: null);

        return array_values(array_filter($found, static fn (array $finding): bool => $finding['check'] === 'Redis'));
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     * @return list<array{string, string}>
     */
    private static function words(array $found): array
    {
        return array_map(static fn (array $finding): array => [$finding['severity'], $finding['message']], $found);
    }

    /**
     * @param  list<array{check: string, severity: string, message: string, remedy: string}>  $found
     */
    private static function text(array $found): string
    {
        return implode("\n", array_merge(...array_map(static fn (array $finding): array => [$finding['message'], $finding['remedy']], $found)));
    }
}
