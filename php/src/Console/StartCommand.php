<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\BinaryNotFound;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerNotStarted;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Server\ServerProcess;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
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
        {--debug : Log at level debug}';

    protected $description = 'Start the Fanfare server and stay until it ends';

    public function handle(Repository $config, BinaryLocator $locator): int
    {
        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), $this->overrides());
            $process = new ServerProcess($locator->locate($server->binary), ['serve', '--config', '-', '--stop-with-parent']);

            $this->components->info("Starting Fanfare on {$server->listen()}, socket {$server->socket}. Press Ctrl+C to stop it.");

            return $process->run($server->toJson());
        } catch (InvalidConfiguration $e) {
            $this->fault($e->getMessage());

            return self::MISTAKEN_CONFIGURATION;
        } catch (BinaryNotFound|ServerNotStarted $e) {
            $this->fault($e->getMessage());

            return self::FAILURE;
        }
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
