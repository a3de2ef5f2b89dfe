<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\BinaryNotFound;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerNotStarted;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Server\ServerProcess;
use Fanfare\Laravel\Server\Versions;
use Fanfare\Laravel\Server\Watch;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Foundation\Application;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:start`: starts the server with this application's configuration and stays
 * until it ends. Exit code: the server's; 64 for mistakes in the configuration, as the server has it.
 */
#[AsCommand(name: 'fanfare:start')]
final class StartCommand extends Command
{
    private const int MISTAKEN_CONFIGURATION = 64;

    protected $signature = 'fanfare:start
        {--host= : The IP address to listen on instead of fanfare.server.host}
        {--port= : The port to listen on instead of fanfare.server.port; 0 lets the kernel choose}
        {--socket= : The Unix socket to use instead of fanfare.socket}
        {--debug : Log at level debug}
        {--watch : Start it again whenever .env or config/ changes; for development}';

    protected $description = 'Start the Fanfare server and stay until it ends';

    protected $help = <<<'HELP'
        Hands this application's configuration to the binary on a pipe, and passes signals on: SIGTERM, SIGINT and SIGQUIT have the server leave in good order.
        Run it under a supervisor (deploy/). With <info>--watch</info>, which is not for production, every change of .env or config/ restarts it and closes all connections.

        Exit codes: <info>0</info> the server has left in good order; <info>1</info> it could not be started, or could not serve; <info>64</info> mistakes in the configuration;
        <info>75</info> <info>fanfare:restart</info> asked for another one; <info>128 + n</info> the server was ended by signal n.
        HELP;

    public function handle(Application $app, Repository $config, BinaryLocator $locator): int
    {
        try {
            if ($this->option('watch')) {
                return $this->watch($app);
            }

            $server = ServerConfig::from((array) $config->get('fanfare'), $this->overrides(), (array) $config->get('database.redis'));
            $binary = $locator->locate($server->binary);
            $fault = Versions::installed($locator, $server->binary)->binaryFault;

            // What is no server could end at once and well, and be taken for one that was told to.
            if ($fault !== null) {
                $this->fault("{$fault} Set FANFARE_BINARY to the server's executable.");

                return self::FAILURE;
            }

            $this->warnOfPublishing($config);
            $process = new ServerProcess($binary, ['serve', '--config', '-', '--stop-with-parent']);

            $this->components->info("Starting Fanfare on {$server->listen()}, socket {$server->socket}. Press Ctrl+C to stop it.");

            $code = $process->run($server->toJson());

            $signal = $process->endedBy();

            if ($signal !== null) {
                $this->fault("The server was ended by signal {$signal}".($signal === 9 ? ' (out of memory? See `dmesg`).' : '.'));
            }

            return $code;
        } catch (InvalidConfiguration $e) {
            $this->fault($e->getMessage());

            return self::MISTAKEN_CONFIGURATION;
        } catch (BinaryNotFound|ServerNotStarted $e) {
            $this->fault($e->getMessage());

            return self::FAILURE;
        }
    }

    /**
     * The server can serve with what keeps PHP from broadcasting; whoever starts it wants to know all the same.
     */
    private function warnOfPublishing(Repository $config): void
    {
        try {
            PublisherConfig::from((array) $config->get('fanfare'), ConnectionConfig::ofDefault($config));
        } catch (InvalidConfiguration $e) {
            $this->fault("The server starts, but PHP cannot broadcast. {$e->getMessage()}");
        }
    }

    private function watch(Application $app): int
    {
        if ($app->isProduction()) {
            $this->fault('--watch: expected an application in development, found APP_ENV=production. It would close all connections whenever a file changes; after a deployment, run `php artisan fanfare:restart`.');

            return self::MISTAKEN_CONFIGURATION;
        }

        if (! function_exists('pcntl_sigtimedwait')) {
            $this->fault('--watch: expected the PHP extension "pcntl", found that this PHP has not loaded it. Install it, or restart by hand.');

            return self::FAILURE;
        }

        $files = static fn (): array => [$app->environmentFilePath(), $app->getCachedConfigPath(), ...(glob($app->configPath('*.php')) ?: [])];

        return (new Watch(Watch::ownCommandWithout('--watch'), $files, fn (string $words) => $this->components->info($words)))->run();
    }

    /**
     * On standard error, line breaks kept: a list of mistakes is read line by line.
     */
    private function fault(string $message): void
    {
        $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);
    }

    /**
     * @return array<string, string>
     */
    private function overrides(): array
    {
        $given = [
            'host' => $this->option('host'),
            'port' => $this->option('port'),
            'socket' => $this->option('socket'),
            'log_level' => $this->option('debug') ? 'debug' : null,
        ];

        return array_filter($given, static fn (mixed $value): bool => is_string($value));
    }
}
