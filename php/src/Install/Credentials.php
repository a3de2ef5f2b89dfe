<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * Credentials for a new app, in the form that Reverb's have: an id of six digits, key and secret of
 * twenty lower-case characters.
 */
final readonly class Credentials
{
    private const string ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

    /**
     * @return array{FANFARE_APP_ID: string, FANFARE_APP_KEY: string, FANFARE_APP_SECRET: string}
     */
    public static function fresh(): array
    {
        return [
            'FANFARE_APP_ID' => (string) random_int(100_000, 999_999),
            'FANFARE_APP_KEY' => self::random(),
            'FANFARE_APP_SECRET' => self::random(),
        ];
    }

    private static function random(): string
    {
        return implode('', array_map(static fn (): string => self::ALPHABET[random_int(0, 35)], range(1, 20)));
    }
}
