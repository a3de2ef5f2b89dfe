<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use SensitiveParameter;

/**
 * One App of the server: its id, its public key, and the secret that proves whoever publishes to it.
 */
final readonly class AppCredentials
{
    /** The remedy where nothing has been set up. */
    public const string INSTALL = 'run `php artisan fanfare:install`, which writes them';

    public function __construct(
        public string $id,
        public string $key,
        #[SensitiveParameter] public string $secret,
    ) {}

    /**
     * Those of the apps in `fanfare.apps`, at least one, ids and keys unique.
     *
     * @param  list<Section>  $sections  one for each app
     * @return list<self>  in the same order
     */
    public static function list(array $sections, Mistakes $mistakes): array
    {
        $apps = [];
        $ids = [];
        $keys = [];

        foreach ($sections as $section) {
            if ($section->isUnset('id') && $section->isUnset('key') && $section->isUnset('secret')) {
                $section->mistakenItself('id, key and secret of an app', 'none of them', self::INSTALL);
                $apps[] = new self('', '', '');

                continue;
            }

            $app = new self(
                $section->text('id', '', 'the id of an app', 'set FANFARE_APP_ID'),
                $section->text('key', '', 'the public key of an app', 'set FANFARE_APP_KEY'),
                $section->text('secret', '', 'the secret of an app', 'set FANFARE_APP_SECRET to a long random string'),
            );

            if ($app->id !== '' && isset($ids[$app->id])) {
                $section->mistaken('id', 'an id that no other app has', $app->id);
            }

            if ($app->key !== '' && isset($keys[$app->key])) {
                $section->mistaken('key', 'a key that no other app has', $app->key);
            }

            $apps[] = $app;
            $ids[$app->id] = true;
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
