<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

use Fanfare\Laravel\Exceptions\NotInstallable;

/**
 * What an installation would change in an application. A second plan of an application that was
 * installed is empty.
 */
final readonly class Plan
{
    private const string ECHO = 'Where browsers connect. Echo\'s broadcaster "reverb" is a plain Pusher client, and reads these.';

    private const string REDIS = 'Servers with the same Redis are one fleet: a connection of config/database.php.';

    /**
     * @param  list<Change>  $changes  in this order; several may concern one file, each based on the one before
     * @param  list<string>  $kept  names of Reverb's variables that go on being used
     */
    private function __construct(public array $changes, public array $kept) {}

    /**
     * @param  bool  $fromReverb  whether Reverb's variables stay the truth
     * @param  bool  $echo  whether scripts are set up
     * @param  string|null  $binary  the server's executable, where it would not be found by itself
     * @param  string|null  $redis  the connection of Laravel's over which several servers hear each other
     *
     * @throws NotInstallable
     */
    public static function of(Application $app, bool $fromReverb, bool $echo, ?string $binary, ?string $redis, string $config): self
    {
        $text = Change::content($app->env) ?? throw NotInstallable::withoutEnv($app->env);
        $env = new EnvFile($text);

        if ($fromReverb) {
            $missing = array_values(array_filter(
                ['REVERB_APP_ID', 'REVERB_APP_KEY', 'REVERB_APP_SECRET'],
                static fn (string $name): bool => ! $env->has($name),
            ));

            if ($missing !== []) {
                throw NotInstallable::withoutReverb($app->env, $missing);
            }
        }

        if ($redis !== null && $env->has('FANFARE_REDIS_URL')) {
            throw NotInstallable::withTwoRedis($app->env);
        }

        $after = self::variables($app, $env, $fromReverb, $echo, $binary);
        $after = $redis === null ? $after : $after->withMissing(['FANFARE_REDIS_CONNECTION' => $redis], self::REDIS);
        $changes = [Change::adding($app->env, 'who the application is, and that it broadcasts through Fanfare', $after->text)];

        if ($echo && ! $fromReverb) {
            $echoed = self::echoing($after);
            $changes[] = Change::replacing($app->env, 'browsers get Fanfare\'s key instead of another one', $echoed->text)->after($after->text);
            $after = $echoed;
        }

        if ($redis !== null && $after->value('FANFARE_REDIS_CONNECTION') !== $redis) {
            $changes[] = Change::replacing(
                $app->env,
                'servers hear each other over another Redis',
                $after->with('FANFARE_REDIS_CONNECTION', $redis)->text,
            )->after($after->text);
        }

        if (! is_file("{$app->config}/fanfare.php")) {
            $changes[] = Change::adding("{$app->config}/fanfare.php", 'every setting, explained', (string) Change::content($config));
        }

        array_push($changes, ...ChannelRoutes::changes($app), ...$echo ? EchoSetup::changes($app) : []);

        return new self(
            array_values(array_filter($changes, static fn (Change $change): bool => $change->isNeeded())),
            $fromReverb ? $env->names('REVERB_') : [],
        );
    }

    private static function variables(Application $app, EnvFile $env, bool $fromReverb, bool $echo, ?string $binary): EnvFile
    {
        // Applications that were made with Laravel 10 or older may still read the old name.
        $old =
            ! $env->has('BROADCAST_CONNECTION')
            && $env->has('BROADCAST_DRIVER')
            && str_contains((string) Change::content("{$app->config}/broadcasting.php"), 'BROADCAST_DRIVER');

        $env = $env->with($old ? 'BROADCAST_DRIVER' : 'BROADCAST_CONNECTION', 'fanfare');

        $env = $env->withMissing(
            ($fromReverb ? [] : Credentials::fresh() + ['FANFARE_PORT' => '8080']) + ($binary === null ? [] : ['FANFARE_BINARY' => $binary]),
        );

        if ($fromReverb || ! $echo) {
            return $env;
        }

        return $env->withMissing([
            'VITE_REVERB_APP_KEY' => '${FANFARE_APP_KEY}',
            'VITE_REVERB_HOST' => 'localhost',
            'VITE_REVERB_PORT' => '${FANFARE_PORT}',
            'VITE_REVERB_SCHEME' => 'http',
        ], self::ECHO);
    }

    private static function echoing(EnvFile $env): EnvFile
    {
        $key = $env->value('VITE_REVERB_APP_KEY');

        return in_array($key, ['${FANFARE_APP_KEY}', $env->value('FANFARE_APP_KEY')], true) ? $env : $env->with('VITE_REVERB_APP_KEY', '${FANFARE_APP_KEY}');
    }
}
