<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Closure;
use Fanfare\Laravel\Tests\Support\Certificate;
use Fanfare\Laravel\Tests\Support\ExaminesInstallations;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use Fanfare\Laravel\Tests\Support\RunningNginx;
use Fanfare\Laravel\Tests\Support\RunningServer;
use Fanfare\Laravel\Tests\Support\Scratch;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * What `fanfare:doctor` says about the way from browsers to the server, by really connecting.
 */
final class DoctorPublicUrlTest extends TestCase
{
    use ExaminesInstallations;
    use OwnDirectory;

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

    /**
     * The configuration that comes with Fanfare, and what people make of it.
     */
    public function test_nginx_in_front_is_tried_with_and_without_the_headers(): void
    {
        $server = new RunningServer($this->scratch);
        $shipped = (string) file_get_contents(dirname(__DIR__, 3).'/deploy/nginx.conf');

        foreach ([
            'as it is shipped' => [[], 'good', 'A WebSocket client connects to', ''],
            'without the headers' => [['proxy_set_header Upgrade $http_upgrade;' => '', 'proxy_set_header Connection "upgrade";' => ''], 'error', 'does not pass on the headers Upgrade and Connection', 'proxy_set_header Upgrade $http_upgrade'],
            'with HTTP/1.0 to the server' => [['proxy_http_version 1.1;' => 'proxy_http_version 1.0;'], 'error', 'or speaks HTTP/1.0 to the server', 'proxy_http_version 1.1'],
            'with another location' => [['location /app/' => 'location /ws/'], 'error', 'does not pass /app/', 'deploy/nginx.conf'],
            'with another upstream' => [['server 127.0.0.1:8080;' => 'server 127.0.0.1:1;'], 'error', 'the proxy does not reach the server', 'FANFARE_PORT'],
        ] as $how => [$changes, $severity, $message, $remedy]) {
            $port = RunningNginx::freePort();
            $nginx = new RunningNginx($this->scratch, strtr($shipped, $changes + ['127.0.0.1:8080' => "127.0.0.1:{$server->port}", 'listen 80;' => "listen 127.0.0.1:{$port};"]));
            $found = self::one($this->examine($server->application, options: ["--url=http://127.0.0.1:{$port}"], expected: null), 'Public URL');
            self::assertSame($severity, $found['severity'], "{$how}: {$found['message']}");
            self::assertStringContainsString($message, $found['message'], $how);
            self::assertStringContainsString($remedy, $found['remedy'], $how);
            $nginx->stop();
        }

        $server->stop();
    }

    /**
     * @param  Closure(Scratch, string, string): void  $issue
     */
    #[DataProvider('certificates')]
    public function test_a_certificate_is_judged_as_a_browser_would(Closure $issue, bool $isTrusted, string $severity, string $message, string $remedy): void
    {
        $server = new RunningServer($this->scratch);
        [$certificate, $key] = [$this->scratch->path('fullchain.pem'), $this->scratch->path('privkey.pem')];
        $issue($this->scratch, $certificate, $key);
        $port = RunningNginx::freePort();
        $nginx = new RunningNginx($this->scratch, strtr((string) file_get_contents(dirname(__DIR__, 3).'/deploy/nginx.conf'), [
            '127.0.0.1:8080' => "127.0.0.1:{$server->port}",
            'listen 80;' => "listen 127.0.0.1:{$port} ssl; ssl_certificate {$certificate}; ssl_certificate_key {$key};",
        ]));

        $found = self::one($this->examine($server->application, $isTrusted ? ['SSL_CERT_FILE' => $certificate] : [], ["--url=https://localhost:{$port}"], null), 'Public URL');
        self::assertSame($severity, $found['severity'], $found['message']);
        self::assertStringContainsString($message, $found['message']);
        self::assertStringContainsString($remedy, $found['remedy']);

        $nginx->stop();
        $server->stop();
    }

    /**
     * @return iterable<string, array{Closure(Scratch, string, string): void, bool, string, string, string}>
     */
    public static function certificates(): iterable
    {
        $of = static fn (string $name, int $days): Closure => static fn (Scratch $scratch, string $certificate, string $key) => Certificate::selfSigned($certificate, $key, $name, $days);

        yield 'trusted' => [$of('localhost', 1), true, 'good', 'A WebSocket client connects to https://localhost', ''];
        yield 'self-signed' => [$of('localhost', 1), false, 'error', 'the certificate is self-signed: nobody trusts it by itself', 'certificate that browsers trust'];
        yield 'of another name' => [$of('app.example', 1), true, 'error', 'is not for the name localhost, but for app.example', 'Use a name that the certificate has'];
        // For no day: it has expired when it is there.
        yield 'expired' => [$of('localhost', 0), true, 'error', 'the certificate has expired on '.gmdate('Y'), 'Renew it'];
        yield 'of an authority that nobody knows' => [Certificate::ofAnAuthority(...), false, 'error', 'of an authority that is not known here', 'fullchain.pem'];
    }

    #[DataProvider('urls')]
    public function test_a_url_that_leads_nowhere_is_told(string $url, string $words): void
    {
        $found = $this->examine(RunningServer::application($this->scratch, ['FANFARE_URL' => $url]));

        self::assertStringContainsString($words, self::error($found, 'Public URL')['message']);
        self::assertSame(str_contains($url, '.invalid'), str_contains(self::error($found, 'Public URL')['remedy'], 'Correct the name'));
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public static function urls(): iterable
    {
        yield 'nobody there' => ['http://127.0.0.1:1', 'cannot connect: Connection refused'];
        yield 'no URL' => ['app.example', 'expected a URL such as'];
        yield 'no name' => ['https://fanfare.invalid', 'the name fanfare.invalid is not known here'];
        yield 'no name, without TLS' => ['http://fanfare.invalid', 'the name fanfare.invalid is not known here'];
    }

    public function test_another_key_and_no_tls_are_told_apart(): void
    {
        $server = new RunningServer($this->scratch);

        $tls = $this->examine($server->application, options: ["--url=https://127.0.0.1:{$server->port}"]);
        self::assertStringContainsString('cannot connect', self::error($tls, 'Public URL')['message']);
        self::assertStringContainsString('does not speak TLS', self::error($tls, 'Public URL')['remedy']);

        // Accepted by the kernel, and never answered.
        $silent = stream_socket_server('tcp://127.0.0.1:0');
        $silence = $this->examine($server->application, options: ['--url=https://'.stream_socket_get_name($silent, false)]);
        self::assertStringContainsString('cannot connect: no TLS answer', self::error($silence, 'Public URL')['message']);
        self::assertStringContainsString('does not speak TLS', self::error($silence, 'Public URL')['remedy']);

        $other = $this->examine(RunningServer::application($this->scratch, ['FANFARE_APP_KEY' => 'other-key']), options: ["--url=http://127.0.0.1:{$server->port}"]);
        self::assertStringContainsString('no app with this key', self::error($other, 'Public URL')['message']);

        $server->stop();
    }
}
