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
     */
    public function run(array $arguments, array $changes = [], bool $terminal = false): RunningCommand
    {
        return new RunningCommand($this->command(...$arguments), null, self::environment($changes), $terminal);
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
     * @param  array<string, string|null>  $changes
     * @return array<string, string>
     */
    private static function environment(array $changes = []): array
    {
        $environment = array_filter(
            getenv(),
            static fn (string $name): bool => preg_match('/^(FANFARE|REVERB|VITE|APP|BROADCAST|CACHE|DB|LOG|QUEUE|SESSION)_/', $name) !== 1,
            ARRAY_FILTER_USE_KEY,
        );

        return array_filter($changes + $environment, is_string(...));
    }
}
