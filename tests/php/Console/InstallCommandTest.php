<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Console;

use Fanfare\Laravel\Tests\Support\ChatApplication;
use Fanfare\Laravel\Tests\Support\FreshApplication;
use Fanfare\Laravel\Tests\Support\OwnDirectory;
use Fanfare\Laravel\Tests\Support\RunningCommand;
use PHPUnit\Framework\Attributes\DataProvider;
use PHPUnit\Framework\TestCase;

/**
 * `php artisan fanfare:install` in applications as `laravel new` leaves them.
 */
final class InstallCommandTest extends TestCase
{
    use OwnDirectory;

    private const string REVERB = <<<'ENV'
        BROADCAST_CONNECTION=reverb

        REVERB_APP_ID=654321
        REVERB_APP_KEY=reverbkeyreverbkey12
        REVERB_APP_SECRET=reverbsecretreverb12
        REVERB_HOST="localhost"
        REVERB_PORT=8080
        REVERB_SCHEME=http
        REVERB_SCALING_ENABLED=false

        VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
        VITE_REVERB_HOST="${REVERB_HOST}"
        VITE_REVERB_PORT="${REVERB_PORT}"
        VITE_REVERB_SCHEME="${REVERB_SCHEME}"

        ENV;

    public function test_a_fresh_application_is_set_up_so_that_it_starts(): void
    {
        $app = new FreshApplication($this->scratch);
        $install = $app->artisan(['fanfare:install', '--no-interaction']);
        self::assertSame(0, $install->exitCode(), $install->transcript);

        $env = $app->read('.env');
        self::assertStringContainsString("\nBROADCAST_CONNECTION=fanfare\nFILESYSTEM_DISK=local\n", $env);
        self::assertMatchesRegularExpression('/^FANFARE_APP_ID=[1-9]\d{5}$/m', $env);
        self::assertMatchesRegularExpression('/^FANFARE_APP_KEY=[a-z0-9]{20}$/m', $env);
        self::assertSame(1, preg_match('/^FANFARE_APP_SECRET=([a-z0-9]{20})$/m', $env, $secret));
        self::assertStringContainsString('VITE_REVERB_APP_KEY="${FANFARE_APP_KEY}"', $env);

        // Neither the new secret nor an old one was shown.
        self::assertStringNotContainsString($secret[1], $install->transcript);
        self::assertStringNotContainsString('hunter2', $install->transcript);
        self::assertStringContainsString('+ FANFARE_APP_SECRET=(20 characters)', $install->transcript);

        self::assertSame((string) file_get_contents(dirname(__DIR__, 3).'/php/config/fanfare.php'), $app->read('config/fanfare.php'));
        self::assertStringContainsString("broadcaster: 'reverb'", $app->read('resources/js/echo.js'));
        self::assertStringContainsString("import './echo';", $app->read('resources/js/bootstrap.js'));
        self::assertStringContainsString('npm install --save-dev laravel-echo pusher-js', $install->transcript);

        $routes = $app->artisan(['route:list', '--path=broadcasting', '--json']);
        self::assertSame(0, $routes->exitCode());
        self::assertStringContainsString('broadcasting\/auth', $routes->transcript);

        $server = $app->artisan(['fanfare:start', '--host=127.0.0.1', '--port=0']);
        $server->line('serving');
        self::assertSame(0, $server->signal(SIGTERM)->exitCode());
    }

    public function test_a_second_run_changes_nothing(): void
    {
        $app = new FreshApplication($this->scratch);
        $app->artisan(['fanfare:install', '--no-interaction'])->exitCode();
        $before = $app->contents();

        foreach (['--no-interaction', '--force'] as $how) {
            $again = $app->artisan(['fanfare:install', $how]);
            self::assertSame(0, $again->exitCode());
            self::assertStringContainsString('no file has to change', $again->transcript);
            self::assertSame($before, $app->contents());
        }
    }

    public function test_every_change_is_shown_and_asked_for_and_may_be_declined(): void
    {
        $app = new FreshApplication($this->scratch);
        $before = $app->contents();
        $install = $app->artisan(['fanfare:install'], terminal: true);

        foreach (['.env', 'config/fanfare.php', 'routes/channels.php', 'bootstrap/app.php', 'resources/js/echo.js', 'resources/js/bootstrap.js'] as $path) {
            $install->line("Write {$path}?");
            $install->write("no\n");
        }

        self::assertSame(1, $install->exitCode());
        self::assertSame($before, $app->contents());

        // Yes is the default.
        $install = $app->artisan(['fanfare:install'], terminal: true);
        $install->line('+ BROADCAST_CONNECTION=fanfare');
        $install->line('Write .env?');
        $install->write("\n");
        $install->line('Written: .env');

        foreach (range(1, 5) as $_) {
            $install->line('Write ');
            $install->write("yes\n");
        }

        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertStringContainsString("channels: __DIR__.'/../routes/channels.php',", $app->read('bootstrap/app.php'));
    }

    public function test_what_a_person_wrote_is_replaced_only_when_that_is_asked_for(): void
    {
        $pusher = "import Echo from 'laravel-echo';\nwindow.Echo = new Echo({ broadcaster: 'pusher' });\n";
        $app = new FreshApplication($this->scratch, ['resources/js/echo.js' => $pusher, '.env' => "VITE_REVERB_APP_KEY=mine\n"]);

        $careful = $app->artisan(['fanfare:install', '--no-interaction']);
        self::assertSame(1, $careful->exitCode());
        self::assertSame($pusher, $app->read('resources/js/echo.js'));
        self::assertStringContainsString("\n  - window.Echo = new Echo({ broadcaster: 'pusher' });", $careful->transcript);
        self::assertStringContainsString('Left out: resources/js/echo.js', $careful->transcript);
        self::assertStringContainsString('`php artisan fanfare:install --force` does it', (string) preg_replace('/\s+/', ' ', $careful->transcript));
        self::assertStringContainsString('VITE_REVERB_APP_KEY=mine', $app->read('.env'));
        self::assertStringContainsString('BROADCAST_CONNECTION=fanfare', $app->read('.env'));

        $forced = $app->artisan(['fanfare:install', '--force']);
        self::assertSame(0, $forced->exitCode(), $forced->transcript);
        self::assertStringContainsString("broadcaster: 'reverb'", $app->read('resources/js/echo.js'));
        self::assertStringContainsString('VITE_REVERB_APP_KEY="${FANFARE_APP_KEY}"', $app->read('.env'));
    }

    public function test_from_reverb_keeps_its_variables_and_says_what_each_means(): void
    {
        $app = new FreshApplication($this->scratch, ['.env' => self::REVERB, 'resources/js/echo.js' => "new Echo({ broadcaster: 'reverb' });\n", 'resources/js/bootstrap.js' => "import './echo';\n"]);
        $install = $app->artisan(['fanfare:install', '--from-reverb', '--no-interaction'], ['FANFARE_BINARY' => dirname(__DIR__, 3).'/target/release/fanfare']);

        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertSame(str_replace('BROADCAST_CONNECTION=reverb', 'BROADCAST_CONNECTION=fanfare', self::REVERB), $app->read('.env'));
        self::assertSame("new Echo({ broadcaster: 'reverb' });\n", $app->read('resources/js/echo.js'));
        self::assertMatchesRegularExpression('/REVERB_APP_KEY \.+ the app\'s public key/', $install->transcript);
        self::assertMatchesRegularExpression('/REVERB_SCALING_ENABLED \.+ not used/', $install->transcript);
        self::assertStringNotContainsString('reverbsecretreverb12', $install->transcript);
    }

    public function test_redis_names_the_connection_that_servers_share(): void
    {
        $app = new FreshApplication($this->scratch);
        $app->artisan(['fanfare:install', '--no-interaction'])->exitCode();
        $before = $app->read('.env');
        self::assertStringNotContainsString('REDIS', $before);

        $install = $app->artisan(['fanfare:install', '--redis', '--no-interaction']);
        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertStringContainsString('  + FANFARE_REDIS_CONNECTION=default', $install->transcript);
        $named = $app->read('.env');
        self::assertStringStartsWith($before, $named);
        self::assertStringEndsWith("\nFANFARE_REDIS_CONNECTION=default\n", $named);

        // The same once more, and an installation that says nothing of it.
        foreach (['--redis', '--redis=default', '--force'] as $option) {
            $again = $app->artisan(['fanfare:install', $option, '--no-interaction']);
            self::assertSame(0, $again->exitCode());
            self::assertStringContainsString('no file has to change', $again->transcript);
            self::assertSame($named, $app->read('.env'));
        }

        // Another one replaces what somebody wrote.
        $careful = $app->artisan(['fanfare:install', '--redis=cache', '--no-interaction']);
        self::assertSame(1, $careful->exitCode());
        self::assertStringContainsString('  - FANFARE_REDIS_CONNECTION=default', $careful->transcript);
        self::assertStringContainsString('  + FANFARE_REDIS_CONNECTION=cache', $careful->transcript);
        self::assertSame($named, $app->read('.env'));

        self::assertSame(0, $app->artisan(['fanfare:install', '--redis=cache', '--force'])->exitCode());
        self::assertSame(str_replace('CONNECTION=default', 'CONNECTION=cache', $named), $app->read('.env'));
    }

    public function test_redis_is_set_up_in_the_first_run_too(): void
    {
        $app = new FreshApplication($this->scratch, ['.env' => self::REVERB."FANFARE_REDIS_CONNECTION=\n"]);

        self::assertSame(0, $app->artisan(['fanfare:install', '--from-reverb', '--redis=default', '--no-interaction'])->exitCode());
        self::assertStringContainsString("\nFANFARE_REDIS_CONNECTION=default\n", $app->read('.env'));
    }

    public function test_a_connection_that_does_not_exist_is_refused_with_those_that_do(): void
    {
        $config = "<?php\n\nreturn ['redis' => ['client' => 'phpredis', 'options' => [], 'default' => [], 'cache' => [], 'clusters' => ['many' => [[]]]]];\n";
        $app = new FreshApplication($this->scratch, ['config/database.php' => $config]);

        foreach (['--redis=defualt' => 'defualt', '--redis=options' => 'options', '--redis=' => ''] as $option => $found) {
            $install = $app->artisan(['fanfare:install', $option, '--no-interaction']);
            self::assertSame(64, $install->exitCode());
            self::assertStringContainsString("under redis, found \"{$found}\"; there are default, cache, many.", $install->transcript);
            self::assertSame(FreshApplication::env(), $app->read('.env'));
        }

        self::assertSame(0, $app->artisan(['fanfare:install', '--redis=many', '--no-interaction'])->exitCode());
        self::assertStringContainsString('FANFARE_REDIS_CONNECTION=many', $app->read('.env'));
    }

    public function test_a_redis_that_is_named_by_its_url_is_not_named_twice(): void
    {
        $app = new FreshApplication($this->scratch, ['.env' => FreshApplication::env()."FANFARE_REDIS_URL=redis://10.0.0.9\n"]);
        $before = $app->contents();
        $install = $app->artisan(['fanfare:install', '--redis', '--no-interaction']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('expected no FANFARE_REDIS_URL in', $install->transcript);
        self::assertSame($before, $app->contents());
    }

    public function test_from_reverb_without_its_credentials_is_refused(): void
    {
        $app = new FreshApplication($this->scratch);
        $install = $app->artisan(['fanfare:install', '--from-reverb', '--no-interaction']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('found no REVERB_APP_ID, REVERB_APP_KEY, REVERB_APP_SECRET', $install->transcript);
        self::assertSame(FreshApplication::env(), $app->read('.env'));
    }

    public function test_an_application_without_env_is_told_how_to_make_it(): void
    {
        $app = new FreshApplication($this->scratch);
        unlink("{$app->directory}/.env");
        $install = $app->artisan(['fanfare:install', '--no-interaction']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('cp .env.example .env', $install->transcript);
    }

    /**
     * @param  array<string, string>  $files
     */
    #[DataProvider('frameworks')]
    public function test_react_and_vue_get_configure_echo_behind_their_imports(array $files, string $entry, string $expected): void
    {
        $app = new FreshApplication($this->scratch, $files);
        $install = $app->artisan(['fanfare:install', '--no-interaction']);

        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertSame($expected, $app->read($entry));
        self::assertFileDoesNotExist("{$app->directory}/resources/js/echo.js");
        self::assertStringContainsString('@laravel/echo-', $install->transcript);
    }

    /**
     * @return iterable<string, array{array<string, string>, string, string}>
     */
    public static function frameworks(): iterable
    {
        $manifest = static fn (string $package): string => json_encode(['dependencies' => [$package => '^19']], JSON_THROW_ON_ERROR);
        $code = static fn (string $package): string => "import { configureEcho } from '{$package}';\n\nconfigureEcho({\n    broadcaster: 'reverb',\n});\n";

        yield 'React' => [
            ['package.json' => $manifest('react'), 'resources/js/app.tsx' => "import '../css/app.css';\n\nimport {\n    createRoot,\n} from 'react-dom/client';\n\ncreateRoot();\n"],
            'resources/js/app.tsx',
            "import '../css/app.css';\n\nimport {\n    createRoot,\n} from 'react-dom/client';\n{$code('@laravel/echo-react')}\ncreateRoot();\n",
        ];
        yield 'Vue' => [
            ['package.json' => $manifest('vue'), 'resources/js/app.ts' => "createApp();\n"],
            'resources/js/app.ts',
            $code('@laravel/echo-vue')."\ncreateApp();\n",
        ];
    }

    public function test_without_echo_scripts_and_their_variables_are_left_alone(): void
    {
        $app = new FreshApplication($this->scratch);
        self::assertSame(0, $app->artisan(['fanfare:install', '--no-interaction', '--without-echo'])->exitCode());

        self::assertFileDoesNotExist("{$app->directory}/resources/js/echo.js");
        self::assertStringNotContainsString('VITE_REVERB', $app->read('.env'));
    }

    public function test_a_linked_env_stays_a_link_and_keeps_its_mode(): void
    {
        $app = new FreshApplication($this->scratch);
        $shared = $this->scratch->file('shared.env', FreshApplication::env(), 0o600);
        unlink("{$app->directory}/.env");
        symlink($shared, "{$app->directory}/.env");

        self::assertSame(0, $app->artisan(['fanfare:install', '--no-interaction'])->exitCode());

        self::assertSame('link', filetype("{$app->directory}/.env"));
        self::assertStringContainsString('FANFARE_APP_SECRET=', (string) file_get_contents($shared));
        self::assertSame(0o600, fileperms($shared) & 0o777);
    }

    public function test_a_file_that_cannot_be_written_is_named(): void
    {
        $app = new FreshApplication($this->scratch);
        mkdir("{$app->directory}/routes/channels.php");
        mkdir("{$app->directory}/routes/channels.php/full");

        $install = $app->artisan(['fanfare:install', '--no-interaction']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString("Expected to write {$app->directory}/routes/channels.php, found: ", $install->transcript);
        self::assertStringNotContainsString('no reason given', $install->transcript);
        self::assertSame([], glob("{$app->directory}/routes/*.fanfare-*"));
    }

    public function test_a_missing_extension_is_explained_with_the_file_to_load(): void
    {
        $app = new FreshApplication($this->scratch);
        $install = $app->artisan(['fanfare:install', '--no-interaction'], ['PHP_INI_SCAN_DIR' => null]);

        self::assertSame(0, $install->exitCode());
        self::assertStringContainsString('The extension is not loaded in this PHP', $install->transcript);
        self::assertStringContainsString('Put "extension=', $install->transcript);
        // It is built: only the line is missing.
        self::assertStringNotContainsString('fanfare:install --build', $install->transcript);
    }

    public function test_a_build_in_a_checkout_is_what_the_application_then_uses(): void
    {
        // What is built is there already: compiling it is what `make build` of this checkout was for.
        $root = dirname(__DIR__, 3);
        $app = $this->applicationWithCheckout(<<<MAKE
            build:
            \tmkdir -p target/release
            \tcp {$root}/target/fanfare.so target/
            \tcp {$root}/target/release/fanfare target/release/
            MAKE);
        $checkout = $this->scratch->path('checkout');
        $environment = ['PHP_INI_SCAN_DIR' => null];

        $before = $app->artisan(['fanfare:install', '--no-interaction'], $environment);
        self::assertSame(0, $before->exitCode(), $before->transcript);
        self::assertStringContainsString('The server\'s binary "fanfare" was not found', $before->transcript);
        self::assertStringContainsString('`php artisan fanfare:install --build` builds what is missing, here.', $before->transcript);

        $install = $app->artisan(['fanfare:install', '--no-interaction', '--build'], $environment);
        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertStringContainsString("make -C {$checkout} build", $install->transcript);
        self::assertStringContainsString("{$checkout}/target/fanfare.so is there. Put \"extension={$checkout}/target/fanfare.so\"", $install->transcript);
        self::assertStringContainsString("The server's binary is {$checkout}/target/release/fanfare.", $install->transcript);
        self::assertStringContainsString("FANFARE_BINARY={$checkout}/target/release/fanfare\n", $app->read('.env'));

        // As it says: what was built is loaded, and starts.
        $loaded = new RunningCommand([PHP_BINARY, '-d', "extension={$checkout}/target/fanfare.so", '-r', 'echo phpversion("fanfare"), "\n";'], environment: array_diff_key(getenv(), ['PHP_INI_SCAN_DIR' => true]));
        self::assertSame([0, phpversion('fanfare')."\n"], [$loaded->exitCode(), $loaded->transcript]);
        $server = $app->artisan(['fanfare:start', '--host=127.0.0.1', '--port=0']);
        $server->line('serving');
        self::assertSame(0, $server->signal(SIGTERM)->exitCode());
    }

    public function test_a_package_that_is_no_checkout_says_where_its_parts_come_from(): void
    {
        $app = $this->applicationWithCheckout(null);
        $before = $app->contents();
        $install = $app->artisan(['fanfare:install', '--no-interaction', '--build']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('found an installed package', $install->transcript);
        self::assertStringContainsString('pie install fanfare/fanfare', $install->transcript);
        self::assertSame($before, $app->contents());
    }

    public function test_the_packages_of_node_are_installed_with_the_package_manager_of_the_application(): void
    {
        $app = new FreshApplication($this->scratch, ['package.json' => "{\n    \"private\": true\n}\n"]);
        // What the tests of clients have installed is in npm's cache.
        $environment = ['npm_config_prefer_offline' => 'true', 'npm_config_audit' => 'false', 'npm_config_fund' => 'false'];
        $install = $app->artisan(['fanfare:install', '--no-interaction', '--node'], $environment);

        self::assertSame(0, $install->exitCode(), $install->transcript);
        self::assertStringContainsString('Running: npm install --save-dev laravel-echo pusher-js', $install->transcript);
        self::assertSame(['laravel-echo', 'pusher-js'], array_keys(json_decode($app->read('package.json'), true, flags: JSON_THROW_ON_ERROR)['devDependencies']));
        self::assertFileExists("{$app->directory}/node_modules/laravel-echo/package.json");
        self::assertFileExists("{$app->directory}/node_modules/pusher-js/package.json");

        $again = $app->artisan(['fanfare:install', '--no-interaction', '--node'], $environment);
        self::assertSame(0, $again->exitCode());
        self::assertStringNotContainsString('npm install', $again->transcript);
    }

    public function test_packages_of_node_that_cannot_be_installed_are_said(): void
    {
        $npm = $this->scratch->file('bin/npm', "#!/bin/sh\necho 'no registry'\nexit 3\n", 0o755);
        $app = new FreshApplication($this->scratch);
        $install = $app->artisan(['fanfare:install', '--no-interaction', '--node'], ['PATH' => dirname($npm).':/usr/bin:/bin']);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('no registry', $install->transcript);
        self::assertStringContainsString('It ended with exit code 3', $install->transcript);
        self::assertStringContainsString('BROADCAST_CONNECTION=fanfare', $app->read('.env'));
    }

    public function test_a_build_that_fails_is_said_and_nothing_is_written(): void
    {
        $make = $this->scratch->file('bin/make', "#!/bin/sh\necho \"make \$*, \$FANFARE_DEV\"\nexit 3\n", 0o755);
        $app = new FreshApplication($this->scratch);
        $before = $app->contents();
        $install = $app->artisan(['fanfare:install', '--no-interaction', '--build'], ['PATH' => dirname($make).':/usr/bin:/bin', 'FANFARE_DEV' => null]);

        self::assertSame(1, $install->exitCode());
        self::assertStringContainsString('make -C '.dirname(__DIR__, 3).' build, machine', $install->transcript);
        self::assertStringContainsString('found exit code 3', $install->transcript);
        self::assertSame($before, $app->contents());
    }

    /**
     * An application that has the package from a directory of its own: a checkout, with that Makefile, or none.
     */
    private function applicationWithCheckout(?string $makefile): FreshApplication
    {
        $app = new FreshApplication($this->scratch);
        $package = $this->scratch->path('checkout');
        mkdir($package);
        $copy = new RunningCommand(['cp', '-r', dirname(__DIR__, 3).'/php', $package]);
        self::assertSame(0, $copy->exitCode(), $copy->transcript);

        if ($makefile !== null) {
            $this->scratch->file('checkout/Makefile', "{$makefile}\n");
            $this->scratch->file('checkout/ext/Cargo.toml', "[package]\n");
        }

        $autoload = var_export(ChatApplication::path('vendor/autoload.php'), true);
        $source = var_export("{$package}/php/src", true);
        $this->scratch->file('app/vendor/autoload.php', "<?php \$loader = require {$autoload}; \$loader->setPsr4('Fanfare\\\\Laravel\\\\', [{$source}]); return \$loader;\n");

        return $app;
    }
}
