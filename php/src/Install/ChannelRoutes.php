<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * routes/channels.php and its line in bootstrap/app.php, as `install:broadcasting` makes them.
 */
final readonly class ChannelRoutes
{
    private const string LINE = 'channels: __DIR__.\'/../routes/channels.php\',';

    /**
     * @return list<Change>
     */
    public static function changes(Application $app): array
    {
        $routes = "{$app->base}/routes/channels.php";
        $changes = [];

        if (! is_file($routes)) {
            $changes[] = Change::adding($routes, 'who may listen to which private channel', $app->stub('broadcasting-routes'));
        }

        $bootstrap = Change::content($app->bootstrap);
        $after = $bootstrap === null ? null : self::registered($bootstrap);

        if ($after !== null) {
            $changes[] = Change::adding($app->bootstrap, 'routes/channels.php is loaded, and /broadcasting/auth is there', $after);
        }

        return $changes;
    }

    /**
     * Whether somebody has to register the routes by hand: the file has a form of its own.
     */
    public static function needsHand(Application $app): bool
    {
        $bootstrap = Change::content($app->bootstrap);

        return $bootstrap === null || self::registered($bootstrap) === null && ! self::isRegistered($bootstrap);
    }

    private static function isRegistered(string $bootstrap): bool
    {
        return str_contains(str_replace('// channels: ', '', $bootstrap), 'channels: ') || str_contains($bootstrap, 'withBroadcasting(');
    }

    private static function registered(string $bootstrap): ?string
    {
        if (self::isRegistered($bootstrap)) {
            return null;
        }

        if (str_contains($bootstrap, '// channels: ')) {
            return str_replace('// channels: ', 'channels: ', $bootstrap);
        }

        foreach (['commands: __DIR__.\'/../routes/console.php\',', '->withRouting('] as $found) {
            $at = strpos($bootstrap, $found);

            if ($at !== false) {
                [$before, $behind] = [substr($bootstrap, 0, $at + strlen($found)), substr($bootstrap, $at + strlen($found))];
                // A list on one line goes on a line of its own.
                $behind = preg_match('/\A[ \t]*\n/', $behind) === 1 ? $behind : "\n        ".ltrim($behind);

                return "{$before}\n        ".self::LINE.$behind;
            }
        }

        return null;
    }
}
