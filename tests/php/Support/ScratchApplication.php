<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * The chat application with an .env of the test's own: how an operator runs it, secrets in the file
 * and nowhere else.
 */
final readonly class ScratchApplication
{
    private string $artisan;

    /**
     * @param  array<string, string>  $env
     */
    public function __construct(Scratch $scratch, array $env)
    {
        $lines = array_map(static fn (string $name, string $value): string => "{$name}=\"{$value}\"\n", array_keys($env), $env);
        $file = $scratch->file('.env', implode($lines));
        [$directory, $bootstrap] = [var_export(dirname($file), true), var_export(ChatApplication::path(), true)];

        $this->artisan = $scratch->file('artisan.php', <<<PHP
            <?php
            require {$bootstrap}.'vendor/autoload.php';
            \$app = require {$bootstrap}.'bootstrap/app.php';
            \$app->useEnvironmentPath({$directory});
            exit(\$app->handleCommand(new Symfony\Component\Console\Input\ArgvInput));
            PHP);
    }

    /**
     * `php artisan …`, in an environment that has nothing of an application in it.
     */
    public function artisan(string ...$arguments): RunningCommand
    {
        return $this->run($arguments);
    }

    /**
     * The same in a PHP that has not loaded the extension, which tests get from a directory of their own.
     */
    public function artisanWithoutExtension(string ...$arguments): RunningCommand
    {
        return $this->run($arguments, ['PHP_INI_SCAN_DIR' => null]);
    }

    /**
     * @param  list<string>  $arguments
     * @param  array<string, string|null>  $changes  of the environment; null: not in it
     * @param  list<string>  $through  a program that starts it, with its arguments
     */
    public function run(array $arguments, array $changes = [], bool $terminal = false, array $through = []): RunningCommand
    {
        return new RunningCommand([...$through, ...$this->command(...$arguments)], null, self::environment($changes), $terminal);
    }

    /**
     * Starts a program for which file modes hold, as they do not for root.
     *
     * @return list<string>
     */
    public static function withoutPrivileges(): array
    {
        return posix_geteuid() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] : [];
    }

    /**
     * Under a supervisor of four words: what ends with another exit code than 0 is started again.
     */
    public function supervised(string ...$arguments): RunningCommand
    {
        $loop = 'while :; do "$@"; code=$?; echo "ended with $code"; [ $code = 0 ] && exit 0; done';

        return new RunningCommand(['sh', '-c', $loop, 'supervisor', ...$this->command(...$arguments)], null, self::environment());
    }

    /**
     * @return list<string>
     */
    private function command(string ...$arguments): array
    {
        return [PHP_BINARY, $this->artisan, '--no-ansi', ...$arguments];
    }

    /**
     * This process's own, without what is an application's.
     *
     * @param  array<string, string|null>  $changes  null: not in it
     * @return array<string, string>
     */
    public static function environment(array $changes = []): array
    {
        $environment = array_filter(
            getenv(),
            static fn (string $name): bool => preg_match('/^(FANFARE|REVERB|VITE|APP|BROADCAST|CACHE|DB|LOG|QUEUE|REDIS|SESSION)_/', $name) !== 1,
            ARRAY_FILTER_USE_KEY,
        );

        return array_filter($changes + $environment, is_string(...));
    }
}
