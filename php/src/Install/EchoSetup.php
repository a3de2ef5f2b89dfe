<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * Laravel Echo in the application's scripts, as `install:broadcasting --reverb` sets it up: Echo's
 * broadcaster "reverb" is a plain Pusher client, so nothing of it has to know about Fanfare.
 */
final readonly class EchoSetup
{
    private const array FRAMEWORKS = [
        'vue' => ['@laravel/echo-vue', ['app.ts', 'app.js']],
        'react' => ['@laravel/echo-react', ['app.tsx', 'app.jsx']],
    ];

    /**
     * @return list<Change>
     */
    public static function changes(Application $app): array
    {
        $framework = self::framework($app);

        return $framework === null ? self::plain($app) : self::configured($app, $framework);
    }

    /**
     * What is to be said about files that are not as expected; null when all is well.
     */
    public static function hint(Application $app): ?string
    {
        $framework = self::framework($app);

        if (! $app->hasFrontend()) {
            return 'There is no package.json and no resources/js, so Echo was not set up.';
        }

        return $framework === null || self::entry($app, $framework) !== null
            ? null
            : 'None of resources/js/'
            .implode(', ', self::FRAMEWORKS[$framework][1])
            ." was found: call configureEcho({ broadcaster: 'reverb' }) of "
            .self::FRAMEWORKS[$framework][0]
            .' where your script begins.';
    }

    /**
     * The command that installs what the scripts import; null when it is all there.
     */
    public static function nodeCommand(Application $app): ?string
    {
        $framework = self::framework($app);
        $packages = array_filter(
            ['laravel-echo', 'pusher-js', $framework === null ? '' : self::FRAMEWORKS[$framework][0]],
            static fn (string $package): bool => $package !== '' && ! $app->usesNode($package),
        );

        if ($packages === [] || ! is_file("{$app->base}/package.json")) {
            return null;
        }

        $list = implode(' ', $packages);

        return match (true) {
            is_file("{$app->base}/pnpm-lock.yaml") => "pnpm add --save-dev {$list} --ignore-scripts",
            is_file("{$app->base}/yarn.lock") => "yarn add --dev {$list} --ignore-scripts",
            is_file("{$app->base}/bun.lock"), is_file("{$app->base}/bun.lockb") => "bun add --dev {$list}",
            default => "npm install --save-dev {$list} --ignore-scripts",
        };
    }

    private static function framework(Application $app): ?string
    {
        foreach (array_keys(self::FRAMEWORKS) as $framework) {
            if ($app->usesNode($framework)) {
                return $framework;
            }
        }

        return null;
    }

    private static function entry(Application $app, string $framework): ?string
    {
        foreach (self::FRAMEWORKS[$framework][1] as $name) {
            if (is_file("{$app->resources}/js/{$name}")) {
                return "{$app->resources}/js/{$name}";
            }
        }

        return null;
    }

    /**
     * @return list<Change>
     */
    private static function configured(Application $app, string $framework): array
    {
        $path = self::entry($app, $framework);
        $script = $path === null ? '' : (string) Change::content($path);

        if ($path === null || str_contains($script, 'configureEcho(')) {
            return [];
        }

        $package = self::FRAMEWORKS[$framework][0];
        $code = "import { configureEcho } from '{$package}';\n\nconfigureEcho({\n    broadcaster: 'reverb',\n});\n";

        // Behind the last import, which may span lines.
        if (preg_match_all('/^import\b(?:[^;\'"]*from\s*)?\s*[\'"][^\'"]+[\'"];?[ \t]*$/m', $script, $matches, PREG_OFFSET_CAPTURE) > 0) {
            $last = end($matches[0]);
            $at = $last[1] + strlen($last[0]);
            $after = substr($script, 0, $at)."\n{$code}".substr($script, $at + (substr($script, $at, 1) === "\n" ? 1 : 0));
        } else {
            $after = "{$code}\n{$script}";
        }

        return [Change::adding($path, 'Echo connects to Fanfare', $after)];
    }

    /**
     * @return list<Change>
     */
    private static function plain(Application $app): array
    {
        if (! $app->hasFrontend()) {
            return [];
        }

        $echo = "{$app->resources}/js/echo.js";
        $found = Change::content($echo);
        $changes = [];

        if ($found === null || preg_match('/broadcaster:\s*[\'"]reverb[\'"]/', $found) !== 1) {
            $changes[] = Change::replacing($echo, 'Echo connects to Fanfare', $app->stub('echo-js-reverb'));
        }

        foreach (['bootstrap.js', 'app.js'] as $name) {
            $script = Change::content("{$app->resources}/js/{$name}");

            if ($script !== null) {
                if (! str_contains($script, './echo')) {
                    $changes[] = Change::adding("{$app->resources}/js/{$name}", 'Echo is loaded', trim("{$script}\n".$app->stub('echo-bootstrap-js'))."\n");
                }

                break;
            }
        }

        return $changes;
    }
}
