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
     * `php artisan …`, in an environment that has nothing of Fanfare's in it.
     */
    public function artisan(string ...$arguments): RunningCommand
    {
        return $this->run($arguments);
    }

    /**
     * The same, perhaps on a terminal of its own.
     *
     * @param  list<string>  $arguments
     */
    public function run(array $arguments, bool $terminal = false): RunningCommand
    {
        $environment = array_filter(
            getenv(),
            static fn (string $name): bool => preg_match('/^(FANFARE|BROADCAST|APP)_/', $name) !== 1,
            ARRAY_FILTER_USE_KEY,
        );

        return new RunningCommand([PHP_BINARY, $this->artisan, '--no-ansi', ...$arguments], null, $environment, $terminal);
    }
}
