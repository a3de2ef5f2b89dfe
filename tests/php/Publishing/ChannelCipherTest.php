<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Publishing;

use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Publishing\ChannelCipher;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * The example is of Pusher's SDKs; what is sealed is opened here as their clients open it.
 */
final class ChannelCipherTest extends TestCase
{
    private const string MASTER_KEY = '0123456789abcdef0123456789abcdef';

    private const string SHARED_SECRET = 'mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=';

    public function test_a5_the_shared_secret_is_the_one_of_pushers_sdks(): void
    {
        self::assertSame(self::SHARED_SECRET, self::cipher()->sharedSecret('private-encrypted-foo'));
        self::assertNotSame(self::SHARED_SECRET, self::cipher()->sharedSecret('private-encrypted-bar'));
    }

    public function test_a5_what_is_sealed_opens_with_the_shared_secret(): void
    {
        $data = '{"text":"gr\u00fc\u00dfe 👋"}';
        $sealed = json_decode(self::cipher()->seal('private-encrypted-foo', $data), true, flags: JSON_THROW_ON_ERROR);

        self::assertSame(['nonce', 'ciphertext'], array_keys($sealed));

        $nonce = (string) base64_decode($sealed['nonce'], true);
        self::assertSame(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES, strlen($nonce));
        self::assertSame($data, sodium_crypto_secretbox_open(
            (string) base64_decode($sealed['ciphertext'], true),
            $nonce,
            (string) base64_decode(self::SHARED_SECRET, true),
        ));
    }

    public function test_no_nonce_is_used_twice(): void
    {
        $sealed = array_map(static fn (): string => self::cipher()->seal('private-encrypted-foo', '{}'), range(1, 100));

        self::assertCount(100, array_unique(array_map(static fn (string $json): string => json_decode($json, true)['nonce'], $sealed)));
    }

    #[DataProvider('keys')]
    public function test_a_key_that_is_none_is_refused_and_not_shown(string $key, string $found): void
    {
        try {
            self::config($key);
            self::fail('expected InvalidConfiguration, found that the configuration was accepted');
        } catch (InvalidConfiguration $e) {
            self::assertSame(
                ["fanfare.apps.0.encryption_master_key: expected 32 bytes in base64, found {$found}; set FANFARE_ENCRYPTION_MASTER_KEY to what `openssl rand -base64 32` says"],
                $e->mistakes,
            );
            self::assertStringNotContainsString($key, $e->getMessage());
        }
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public static function keys(): iterable
    {
        yield 'not base64' => ['0123456789abcdef0123456789abcde!', 'text that is not base64'];
        yield 'the bytes themselves' => [self::MASTER_KEY, '24 bytes'];
        yield 'too long' => [base64_encode(self::MASTER_KEY.'x'), '33 bytes'];
    }

    public function test_the_key_is_in_no_dump(): void
    {
        $dump = print_r(self::config(base64_encode(self::MASTER_KEY)), true);

        self::assertStringNotContainsString(self::MASTER_KEY, $dump);
        self::assertStringNotContainsString(base64_encode(self::MASTER_KEY), $dump);
    }

    public function test_without_sodium_the_exception_says_so(): void
    {
        $command = new RunningCommand([PHP_BINARY, '-d', 'disable_functions=sodium_crypto_secretbox', '-d', 'display_errors=stderr', '-r', sprintf(
            'require %s; new Fanfare\Laravel\Publishing\ChannelCipher(Fanfare\Laravel\Config\PublisherConfig::from(["socket" => "/s", "apps" => [["id" => 1, "key" => 2, "secret" => 3, "encryption_master_key" => %s]]])->neededEncryptionMasterKey());',
            var_export(dirname(__DIR__).'/bootstrap.php', true),
            var_export(base64_encode(self::MASTER_KEY), true),
        )]);

        self::assertSame(255, $command->exitCode());
        self::assertStringContainsString('Encrypted channels need the PHP extension "sodium"', $command->transcript);
    }

    private static function cipher(): ChannelCipher
    {
        return new ChannelCipher(self::config(base64_encode(self::MASTER_KEY))->neededEncryptionMasterKey());
    }

    private static function config(string $key): PublisherConfig
    {
        return PublisherConfig::from(['socket' => '/s', 'apps' => [
            ['id' => 'a', 'key' => 'k', 'secret' => 's', 'encryption_master_key' => $key],
        ]]);
    }
}
