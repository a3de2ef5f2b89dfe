<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use SensitiveParameter;

/**
 * The 32 bytes from which an app derives the key of each of its encrypted channels. PHP and, channel by
 * channel, authorized clients know it; the server never does.
 */
final readonly class EncryptionMasterKey
{
    public const int BYTES = 32;

    private const string EXPECTED = '32 bytes in base64';

    private const string REMEDY = 'set FANFARE_ENCRYPTION_MASTER_KEY to what `openssl rand -base64 32` says';

    private function __construct(#[SensitiveParameter] public string $bytes) {}

    /**
     * The key in the entry of `fanfare.apps` with this id; null when it has none.
     */
    public static function ofApp(string $id, Section $fanfare, Mistakes $mistakes): ?self
    {
        foreach ($fanfare->sections('apps') as $section) {
            // Only peeks: what is wrong with ids and keys is AppCredentials' to note.
            if ($section->peek('id') !== $id) {
                continue;
            }

            $text = $section->optionalText('encryption_master_key', self::EXPECTED);
            $bytes = $text === null ? false : base64_decode($text, true);

            if ($text !== null && ($bytes === false || strlen($bytes) !== self::BYTES)) {
                $mistakes->note(
                    $section->at('encryption_master_key'),
                    self::EXPECTED,
                    $bytes === false ? 'text that is not base64' : strlen($bytes).' bytes',
                    self::REMEDY,
                );
            }

            return $bytes === false ? null : new self($bytes);
        }

        return null;
    }

    public static function missing(string $app): InvalidConfiguration
    {
        return InvalidConfiguration::because([
            'fanfare.apps.*.encryption_master_key: expected '
                .self::EXPECTED
                ." for the encrypted channels of the app \"{$app}\", "
                .'found nothing; '
                .self::REMEDY,
        ]);
    }

    /**
     * Keeps the key out of dumps and logs.
     *
     * @return array<string, string>
     */
    public function __debugInfo(): array
    {
        return ['bytes' => '(hidden)'];
    }
}
