<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Config;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Tests\Support\ChatApplication;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

final class ServerConfigTest extends TestCase
{
    private const array FANFARE = [
        'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
        'socket' => '/run/fanfare.sock',
    ];

    public function test_the_document_names_what_the_server_needs_and_leaves_the_rest_to_it(): void
    {
        self::assertSame([
            'listen' => '0.0.0.0:8080',
            'socket' => '/run/fanfare.sock',
            'socket_mode' => '0660',
            'socket_uids' => [],
            'log' => ['level' => 'info', 'format' => 'text'],
            'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
        ], self::document(self::FANFARE));
    }

    public function test_everything_that_is_configured_is_in_the_document(): void
    {
        $server = [
            'host' => '::1', 'port' => '0', 'path' => '/ws', 'shards' => '3',
            'tls' => ['certificate' => '/etc/tls/fullchain.pem', 'key' => '/etc/tls/privkey.pem'],
            'trusted_proxies' => '127.0.0.1, 10.0.0.0/8,2001:db8::/32, *', 'socket_mode' => '0600', 'socket_uids' => '33, 1000',
            'log' => ['level' => 'trace', 'format' => 'json'], 'limits' => ['outbox_bytes_max' => 65_536], 'webhook_ca_file' => '/etc/tls/own-ca.pem',
        ];

        self::assertSame([
            'listen' => '[::1]:0',
            'socket' => '/run/fanfare.sock',
            'socket_mode' => '0600',
            'socket_uids' => [33, 1000],
            'log' => ['level' => 'trace', 'format' => 'json'],
            'apps' => [['id' => 'one', 'key' => 'key-one', 'secret' => 'sécret/one']],
            'path' => '/ws',
            'tls' => ['certificate' => '/etc/tls/fullchain.pem', 'key' => '/etc/tls/privkey.pem'],
            'trusted_proxies' => ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32', '*'],
            'shards' => 3,
            'limits' => ['outbox_bytes_max' => 65_536],
            'webhook_ca_file' => '/etc/tls/own-ca.pem',
        ], self::document(['server' => $server] + self::FANFARE));
    }

    public function test_what_is_unset_is_left_to_the_server(): void
    {
        $server = ['path' => '', 'tls' => ['certificate' => null, 'key' => ''], 'trusted_proxies' => '', 'shards' => null, 'webhook_ca_file' => ''];

        self::assertSame(self::document(self::FANFARE), self::document(['server' => $server] + self::FANFARE));
    }

    public function test_the_published_file_says_what_the_server_does_by_default(): void
    {
        $fanfare = ChatApplication::boot()->make('config')->get('fanfare');
        $document = self::document($fanfare);

        self::assertSame([], array_diff_key($document, array_flip(['listen', 'socket', 'socket_mode', 'socket_uids', 'log', 'apps'])));
        self::assertSame([], array_diff_key($fanfare['server'], array_flip(
            ['host', 'port', 'path', 'tls', 'trusted_proxies', 'shards', 'socket_mode', 'socket_uids', 'log', 'limits', 'webhook_ca_file', 'binary'],
        )));
    }

    public function test_the_command_line_wins(): void
    {
        $config = ServerConfig::from(
            ['server' => ['host' => '10.0.0.1', 'port' => 1, 'log' => ['level' => 'warn', 'format' => 'json']]] + self::FANFARE,
            ['host' => '127.0.0.1', 'port' => '6001', 'socket' => '/run/other.sock', 'log_level' => 'debug'],
        );

        self::assertSame('127.0.0.1:6001', $config->listen());
        self::assertSame('/run/other.sock', $config->socket);
        self::assertSame('debug', $config->logLevel);
        self::assertSame('json', $config->logFormat);
    }

    /**
     * @param  array<string, mixed>  $server
     */
    #[DataProvider('nonsense')]
    public function test_nonsense_is_refused(array $server, string $mistake): void
    {
        try {
            ServerConfig::from(['server' => $server] + self::FANFARE);
        } catch (InvalidConfiguration $e) {
            self::assertSame([$mistake], $e->mistakes);

            return;
        }

        self::fail('expected InvalidConfiguration, found that the configuration was accepted');
    }

    /**
     * @return iterable<string, array{array<string, mixed>, string}>
     */
    public static function nonsense(): iterable
    {
        yield 'host' => [['host' => 'example.com'], 'fanfare.server.host: expected an IP address to listen on, or localhost, found "example.com"; use 0.0.0.0 for all interfaces'];
        yield 'port' => [['port' => 70_000], 'fanfare.server.port: expected a whole number from 0 to 65535, found 70000'];
        yield 'port with a space' => [['port' => '80 80'], 'fanfare.server.port: expected a whole number from 0 to 65535, found "80 80"'];
        yield 'shards' => [['shards' => 0], 'fanfare.server.shards: expected a whole number from 1 to 64, found 0'];
        yield 'mode' => [['socket_mode' => 'rw'], 'fanfare.server.socket_mode: expected an octal mode as a string, such as "0660", found "rw"'];
        yield 'mode as a number' => [['socket_mode' => 0o660], 'fanfare.server.socket_mode: expected an octal mode as a string, such as "0660", found 432'];
        yield 'uids' => [['socket_uids' => 'www-data'], 'fanfare.server.socket_uids: expected a whole number from 0 to 4294967294, found "www-data"; the id of a user is what `id -u www-data` says'];
        yield 'log' => [['log' => 'debug'], 'fanfare.server.log: expected an array, found "debug"'];
        yield 'log level' => [['log' => ['level' => 'loud']], 'fanfare.server.log.level: expected one of error, warn, info, debug, trace, found "loud"'];
        yield 'path' => [['path' => 'ws'], 'fanfare.server.path: expected a path that begins with a slash, found "ws"; put a slash before it'];
        yield 'certificate without key' => [['tls' => ['certificate' => '/c.pem']], 'fanfare.server.tls.key: expected the path of the key that belongs to the certificate, found nothing; set FANFARE_TLS_KEY'];
        yield 'key without certificate' => [['tls' => ['key' => '/k.pem']], 'fanfare.server.tls.certificate: expected the path of the certificate that belongs to the key, found nothing; set FANFARE_TLS_CERTIFICATE'];
        yield 'relative key' => [['tls' => ['certificate' => '/c.pem', 'key' => 'k.pem']], 'fanfare.server.tls.key: expected an absolute path, found "k.pem"; the server may be started in any directory'];
        yield 'relative authorities' => [['webhook_ca_file' => 'ca.pem'], 'fanfare.server.webhook_ca_file: expected an absolute path, found "ca.pem"; the server may be started in any directory'];
        yield 'tls' => [['tls' => true], 'fanfare.server.tls: expected an array, found true'];
        yield 'tls by other names' => [['tls' => ['local_cert' => '/c.pem']], 'fanfare.server.tls.local_cert: expected one of certificate, key, found an unknown key; correct its name or leave it out'];
        yield 'proxy' => [['trusted_proxies' => ['127.0.0.1', 'lb.internal']], 'fanfare.server.trusted_proxies.1: expected an address, a network such as 10.0.0.0/8, or *, found "lb.internal"'];
        yield 'network' => [['trusted_proxies' => '10.0.0.0/33'], 'fanfare.server.trusted_proxies.0: expected an address, a network such as 10.0.0.0/8, or *, found "10.0.0.0/33"'];
        yield 'network of nothing' => [['trusted_proxies' => '10.0.0.0/'], 'fanfare.server.trusted_proxies.0: expected an address, a network such as 10.0.0.0/8, or *, found "10.0.0.0/"'];
        yield 'proxies' => [['trusted_proxies' => 7], 'fanfare.server.trusted_proxies: expected a list, found 7'];
        yield 'a misspelt key' => [['hots' => '::1'], 'fanfare.server.hots: expected one of host, port, path, tls, trusted_proxies, shards, socket_mode, socket_uids, log, limits, webhook_ca_file, binary, found an unknown key; correct its name or leave it out'];
        yield 'limits' => [['limits' => ['outbox_bytes_max' => 'lots']], 'fanfare.server.limits.outbox_bytes_max: expected a whole number from 0, found "lots"'];
        yield 'limits without names' => [['limits' => [5]], 'fanfare.server.limits.0: expected a name for each limit, found 5'];
    }

    /**
     * @param  array<array-key, mixed>  $fanfare
     * @return array<string, mixed>
     */
    private static function document(array $fanfare): array
    {
        return json_decode(ServerConfig::from($fanfare)->toJson(), true, flags: JSON_THROW_ON_ERROR);
    }
}
