<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Config\ServerConfig;

/**
 * Whether a running server is what this application needs, in words when it is not.
 */
final readonly class Health
{
    /**
     * @param  string|null  $credentials  what the server has against those of this application
     * @return list<string>  nothing when all is well
     */
    public static function problems(ServerStatus $status, Versions $versions, ServerConfig $config, WaysOut $ways, ?string $credentials): array
    {
        $problems = [];

        if (! $status->isServing()) {
            $problems[] = "The server is {$status->phase}: expected serving.";
        }

        if ($ways->isCutOff()) {
            $problems[] = 'This PHP has not loaded the extension, and no fallback is configured: `php artisan fanfare:doctor` says how to load it.';
        }

        if ($versions->extension !== null && $versions->extension !== $status->version) {
            $problems[] = "The extension is {$versions->extension}, the running server {$status->version}: install the same version, restart the server, then PHP.";
        }

        if ($versions->binary !== null && $versions->binary !== $status->version) {
            $problems[] = "The binary {$versions->path} is {$versions->binary}, the running server {$status->version}: `php artisan fanfare:restart` starts the new one.";
        }

        if ($config->redis !== null && ! $status->hasOthers()) {
            $problems[] = 'The configuration names a Redis, and the running server was started without one, so it is alone: `php artisan fanfare:restart`.';
        }

        $isKnown = true;

        foreach ($config->apps as $app) {
            $served = $status->apps[$app->credentials->id] ?? null;

            // One that is switched off here is meant to be off.
            if ($app->enabled !== false && ($served === null || ! $served['enabled'])) {
                $isKnown = false;
                $what = $served === null ? 'does not know' : 'has switched off';
                $problems[] = "The server {$what} the app {$app->credentials->id} of this configuration: restart it after a change, or correct FANFARE_APP_ID.";
            }
        }

        if ($isKnown && $credentials !== null) {
            $problems[] = "The server refuses broadcasts with the credentials of this configuration: {$credentials}. ".CredentialsProbe::REMEDY;
        }

        return $problems;
    }
}
