<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\NotStoppable;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Server\Incumbent;
use Fanfare\Laravel\Server\Inspector;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:restart`: has the running server leave in good order, and waits until its
 * supervisor has started another one that serves. `php artisan reload` runs it.
 */
#[AsCommand(name: 'fanfare:restart')]
final class RestartCommand extends Command
{
    protected $signature = 'fanfare:restart
        {--timeout=30 : Seconds to wait until it has left}
        {--wait=15 : Seconds to wait, after that, until another one serves; 0: do not wait}
        {--socket= : The Unix socket of the server, instead of fanfare.socket}';

    protected $description = 'Have the Fanfare server replaced by a new one of its supervisor, and wait until that serves';

    protected $help = <<<'HELP'
        Finds the server of this host by the lock beside its socket, has it leave in good order, and waits until another one answers. It does not start one:
        that is the supervisor's (systemd, supervisor, a container, fanfare:start --watch), so that the new one is what the supervisor would start after a deployment.
        <info>fanfare:start</info> ends with exit code 75 then, which no supervisor takes for a wanted end.

        Nothing that PHP broadcasts meanwhile is lost while its process lives; clients reconnect by themselves.

        Exit codes: <info>0</info> another one serves; <info>1</info> none runs, this user may not, it did not leave in time, or nothing started another one; <info>64</info> mistakes in the configuration or the options.
        HELP;

    public function handle(Repository $config): int
    {
        $socket = $this->option('socket');
        $mistakes = [];
        $timeout = Seconds::read('timeout', $this->option('timeout'), $mistakes);
        $wait = Seconds::read('wait', $this->option('wait'), $mistakes);

        if ($mistakes !== []) {
            return $this->fault(implode("\n", $mistakes), 64);
        }

        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), is_string($socket) ? ['socket' => $socket] : []);
            $incumbent = Incumbent::of($server->socket);
            $incumbent->restart();
        } catch (InvalidConfiguration $e) {
            return $this->fault($e->getMessage(), 64);
        } catch (NotStoppable $e) {
            return $this->fault($e->getMessage(), self::FAILURE);
        }

        $this->components->info("Told the server (process {$incumbent->pid}) to leave for another one.");

        if (! Incumbent::await($incumbent->isGone(...), $timeout, fn (int $seconds) => $this->output->writeln("  still leaving, {$seconds} s"))) {
            return $this->fault("Expected the server (process {$incumbent->pid}) to leave within {$timeout} s, found that it is still there. Its log says what it waits for; `php artisan fanfare:stop --force` ends it.", self::FAILURE);
        }

        if ($wait <= 0) {
            $this->components->info('It has left.');

            return self::SUCCESS;
        }

        $inspector = new Inspector($server->socket);
        $serving = static function () use ($inspector, $incumbent): bool {
            try {
                $status = $inspector->status();

                return $status->isServing() && $status->pid !== $incumbent->pid;
            } catch (ServerUnreachable) {
                return false;
            }
        };

        if (! Incumbent::await($serving, $wait, fn (int $seconds) => $this->output->writeln("  it has left; waiting for another one, {$seconds} s"))) {
            return $this->fault("The server has left in good order, but nothing has started another one within {$wait} s. Run `php artisan fanfare:start` under a supervisor (deploy/) that restarts it, or start it by hand.", self::FAILURE);
        }

        $this->components->info("Another one serves (process {$inspector->status()->pid}).");

        return self::SUCCESS;
    }

    private function fault(string $message, int $code): int
    {
        $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);

        return $code;
    }
}
