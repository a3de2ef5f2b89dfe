<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * A Laravel application as `laravel new` leaves it, in a directory of its own: skeleton files with the
 * wording of Laravel 13, Composer's packages linked from examples/chat, and nothing of Fanfare's in it.
 */
final readonly class FreshApplication
{
    private const string ENV = <<<'ENV'
        APP_NAME=Laravel
        APP_ENV=local
        APP_KEY=base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
        APP_DEBUG=true
        APP_URL=http://localhost

        LOG_CHANNEL=stack

        DB_CONNECTION=sqlite

        SESSION_DRIVER=file

        BROADCAST_CONNECTION=log
        FILESYSTEM_DISK=local
        QUEUE_CONNECTION=database

        CACHE_STORE=file

        MAIL_PASSWORD=hunter2
        VITE_APP_NAME="${APP_NAME}"

        ENV;

    private const string BOOTSTRAP = <<<'PHP'
        <?php

        use Illuminate\Foundation\Application;
        use Illuminate\Foundation\Configuration\Exceptions;
        use Illuminate\Foundation\Configuration\Middleware;

        return Application::configure(basePath: dirname(__DIR__))
            ->withRouting(
                web: __DIR__.'/../routes/web.php',
                commands: __DIR__.'/../routes/console.php',
                health: '/up',
            )
            ->withMiddleware(function (Middleware $middleware): void {
                //
            })
            ->withExceptions(function (Exceptions $exceptions): void {
                //
            })->create();

        PHP;

    private const string ARTISAN = <<<'PHP'
        #!/usr/bin/env php
        <?php

        use Illuminate\Foundation\Application;
        use Symfony\Component\Console\Input\ArgvInput;

        define('LARAVEL_START', microtime(true));

        require __DIR__.'/vendor/autoload.php';

        /** @var Application $app */
        $app = require_once __DIR__.'/bootstrap/app.php';

        exit($app->handleCommand(new ArgvInput));

        PHP;

    private const string PACKAGE_JSON = <<<'JSON'
        {
            "private": true,
            "type": "module",
            "scripts": { "build": "vite build", "dev": "vite" },
            "devDependencies": { "vite": "^8.0.0" }
        }

        JSON;

    public string $directory;

    /**
     * @param  array<string, string>  $files  more of them, or others, by path below the application
     * @param  bool  $packages  whether it has those of examples/chat; otherwise Composer has yet to install
     */
    public function __construct(Scratch $scratch, array $files = [], string $name = 'app', bool $packages = true)
    {
        $this->directory = $scratch->path($name);

        $files += [
            '.env' => self::ENV,
            'artisan' => self::ARTISAN,
            'bootstrap/app.php' => self::BOOTSTRAP,
            'bootstrap/providers.php' => "<?php\n\nreturn [];\n",
            'routes/web.php' => "<?php\n",
            'routes/console.php' => "<?php\n",
            'package.json' => self::PACKAGE_JSON,
            'resources/js/app.js' => "import './bootstrap';\n",
            'resources/js/bootstrap.js' => "import axios from 'axios';\nwindow.axios = axios;\n",
        ];

        foreach ($files as $path => $content) {
            $scratch->file("{$name}/{$path}", $content, 0o644);
        }

        foreach (['bootstrap/cache', 'config', 'storage/framework/cache/data', 'storage/framework/sessions', 'storage/framework/views', 'storage/logs'] as $directory) {
            is_dir("{$this->directory}/{$directory}") || mkdir("{$this->directory}/{$directory}", recursive: true);
        }

        if (! $packages) {
            return;
        }

        // The same packages, with an autoloader that finds the application here.
        mkdir("{$this->directory}/vendor");
        file_put_contents("{$this->directory}/vendor/autoload.php", '<?php return require '.var_export(ChatApplication::path('vendor/autoload.php'), true).";\n");
        symlink(ChatApplication::path('vendor/composer'), "{$this->directory}/vendor/composer");
        file_put_contents("{$this->directory}/composer.json", "{\"autoload\": {\"psr-4\": {\"App\\\\\": \"app/\"}}}\n");
    }

    public static function env(): string
    {
        return self::ENV;
    }

    /**
     * @param  list<string>  $arguments
     * @param  array<string, string|null>  $changes  of the environment; null: not in it
     */
    public function artisan(array $arguments, array $changes = [], bool $terminal = false): RunningCommand
    {
        return new RunningCommand([PHP_BINARY, 'artisan', '--no-ansi', ...$arguments], $this->directory, ScratchApplication::environment($changes), $terminal);
    }

    public function read(string $path): string
    {
        return (string) file_get_contents("{$this->directory}/{$path}");
    }

    /**
     * All files that an installation could touch, by path.
     *
     * @return array<string, string>
     */
    public function contents(): array
    {
        $contents = [];

        foreach (['.env', 'config/fanfare.php', 'routes/channels.php', 'bootstrap/app.php', ...array_map(fn (string $file): string => substr($file, strlen($this->directory) + 1), glob("{$this->directory}/resources/js/*") ?: [])] as $path) {
            if (is_file("{$this->directory}/{$path}")) {
                $contents[$path] = $this->read($path);
            }
        }

        return $contents;
    }
}
