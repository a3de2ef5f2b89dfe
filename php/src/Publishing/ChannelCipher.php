<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Laravel\Config\EncryptionMasterKey;
use Fanfare\Laravel\Exceptions\ExtensionMissing;

/**
 * End-to-end encryption as Pusher's SDKs have it: each encrypted channel has a key of its own, the SHA-256 of
 * its name and the master key; data is sealed with it as a NaCl secretbox under a random nonce. Clients get
 * a channel's key when they are authorized for it; the server passes on what it cannot read.
 */
final readonly class ChannelCipher
{
    public const string PREFIX = 'private-encrypted-';

    /**
     * @throws ExtensionMissing
     */
    public function __construct(private EncryptionMasterKey $master)
    {
        if (! function_exists('sodium_crypto_secretbox')) {
            throw ExtensionMissing::sodium();
        }
    }

    public static function isEncrypted(string $channel): bool
    {
        return str_starts_with($channel, self::PREFIX);
    }

    /**
     * What a client that was authorized for the channel is given, in base64.
     */
    public function sharedSecret(string $channel): string
    {
        return base64_encode($this->key($channel));
    }

    /**
     * The data that goes out: a JSON object of nonce and ciphertext.
     */
    public function seal(string $channel, string $data): string
    {
        $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);

        return json_encode([
            'nonce' => base64_encode($nonce),
            'ciphertext' => base64_encode(sodium_crypto_secretbox($data, $nonce, $this->key($channel))),
        ], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
    }

    private function key(string $channel): string
    {
        return hash('sha256', $channel.$this->master->bytes, true);
    }
}
