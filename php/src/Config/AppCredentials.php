<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use SensitiveParameter;

/**
 * One App of the server: its id, its public key, and the secret that proves whoever publishes to it.
 */
final readonly class AppCredentials
{
    public function __construct(
        public string $id,
        public string $key,
        #[SensitiveParameter] public string $secret,
    ) {}

    /**
     * The apps in `fanfare.apps`, at least one, ids and keys unique.
     *
     * @return array<string, self>  by id
     */
    public static function list(Section $fanfare, Mistakes $mistakes): array
    {
        $apps = [];
        $keys = [];

        foreach ($fanfare->sections('apps') as $section) {
            $app = new self(
                $section->text('id', '', 'the id of an app', 'set FANFARE_APP_ID'),
                $section->text('key', '', 'the public key of an app', 'set FANFARE_APP_KEY'),
                $section->text('secret', '', 'the secret of an app', 'set FANFARE_APP_SECRET to a long random string'),
            );

            if ($app->id !== '' && isset($apps[$app->id])) {
                $section->mistaken('id', 'an id that no other app has', $app->id);
            }

            if ($app->key !== '' && isset($keys[$app->key])) {
                $section->mistaken('key', 'a key that no other app has', $app->key);
            }

            $apps[$app->id] = $app;
            $keys[$app->key] = true;
        }

        if ($apps === []) {
            $mistakes->note('fanfare.apps', 'at least one app', 'none', 'add one with id, key and secret');
        }

        return $apps;
    }

    /**
     * Keeps the secret out of dumps and logs.
     *
     * @return array<string, string>
     */
    public function __debugInfo(): array
    {
        return ['id' => $this->id, 'key' => $this->key, 'secret' => '(hidden)'];
    }
}
