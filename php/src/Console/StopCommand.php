<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\NotStoppable;
use Fanfare\Laravel\Server\Incumbent;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:stop`: has the running server leave in good order, and waits until it has.
 */
#[AsCommand(name: 'fanfare:stop')]
final class StopCommand extends Command
{
    protected $signature = 'fanfare:stop
        {--timeout=30 : Seconds to wait until it has left}
        {--force : When it has not left by then, end it at once; what PHP committed waits for its successor}
        {--socket= : The Unix socket of the server, instead of fanfare.socket}';

    protected $description = 'Stop the Fanfare server in good order, and wait until it has left';

    protected $help = <<<'HELP'
        Finds the server by the lock beside its socket, whoever started it, and sends it SIGTERM. It drains what PHP has committed and tells clients to
        connect again. A supervisor that restarts whatever ends will start another one: stop it there instead (systemctl stop, supervisorctl stop).

        Exit codes: <info>0</info> it has left; <info>1</info> none runs, this user may not, or it did not leave in time; <info>64</info> mistakes in the configuration or the options.
        HELP;

    public function handle(Repository $config): int
    {
        $socket = $this->option('socket');
        $mistakes = [];
        $timeout = Seconds::read('timeout', $this->option('timeout'), $mistakes);

        if ($mistakes !== []) {
            return $this->fault(implode("\n", $mistakes), 64);
        }

        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), is_string($socket) ? ['socket' => $socket] : []);
            $incumbent = Incumbent::of($server->socket);
            $incumbent->stop();
            $this->components->info("Told the server (process {$incumbent->pid}) to leave.");
            $isGone = Incumbent::await($incumbent->isGone(...), $timeout, $this->say(...));

            if (! $isGone && $this->option('force')) {
                $this->components->warn('It did not leave in time: ending it at once.');
                $incumbent->stop();
                $isGone = Incumbent::await($incumbent->isGone(...), $timeout, $this->say(...));
            }
        } catch (InvalidConfiguration $e) {
            return $this->fault($e->getMessage(), 64);
        } catch (NotStoppable $e) {
            return $this->fault($e->getMessage(), self::FAILURE);
        }

        if (! $isGone) {
            return $this->fault("Expected the server (process {$incumbent->pid}) to leave within {$timeout} s, found that it is still there. Its log says what it waits for; --force ends it at once.", self::FAILURE);
        }

        $this->components->info('It has left.');
        $successor = $incumbent->successor();

        if ($successor !== null) {
            $this->components->warn("Something has started another one already (process {$successor}): tell that supervisor to stop it.");
        }

        return self::SUCCESS;
    }

    private function say(int $seconds): void
    {
        $this->output->writeln("  still leaving, {$seconds} s");
    }

    private function fault(string $message, int $code): int
    {
        $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);

        return $code;
    }
}
