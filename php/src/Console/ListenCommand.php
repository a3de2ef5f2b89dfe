<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\AppConfig;
use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ListeningEnded;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use Fanfare\Laravel\Listening\Bounds;
use Fanfare\Laravel\Listening\Delivery;
use Fanfare\Laravel\Listening\Worker;
use Illuminate\Console\Command;
use Illuminate\Container\Container;
use Illuminate\Contracts\Cache\Factory;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Support\Facades\Facade;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;
use Throwable;

/**
 * `php artisan fanfare:listen`: makes Laravel's events of what happens in an app's channels.
 */
#[AsCommand(name: 'fanfare:listen')]
final class ListenCommand extends Command
{
    /** Where `queue:restart` leaves the time at which it was run. */
    private const string RESTART = 'illuminate:queue:restart';

    protected $signature = 'fanfare:listen
        {--app= : The id of the app to listen to; without it the first one in fanfare.apps}
        {--once : End after the first batch of events}
        {--max-events=0 : End after so many events; 0: do not}
        {--max-time=0 : End after so many seconds; 0: do not}
        {--memory=128 : End when more megabytes of memory are used}
        {--tries=3 : How often an event is dispatched whose listeners throw; 0: until they do not}
        {--backoff=1 : Seconds before it is dispatched again, doubled each time, up to 30}
        {--socket= : The Unix socket of the server, instead of fanfare.socket}';

    protected $description = 'Dispatch Laravel events for what clients do: client events, channels occupied or vacated, members added or removed';

    protected $help = <<<'HELP'
        Takes what happens in the channels of an app from the server of this host, over its Unix socket, and dispatches it as events of Fanfare\Laravel\Events, with the user as the application has authenticated it. Listeners that implement ShouldQueue are queued, others run here.
        The server keeps what happens for apps whose <info>listener</info> is set (FANFARE_APP_LISTENER=true), from its start on, until this has dispatched it: what a process has when it dies is given to the next one. So an event may come twice, with the same id.

        Run it under a supervisor. A second process for the same app waits until the first has gone. It ends after the batch it has on SIGTERM, SIGINT and SIGQUIT, and after <info>queue:restart</info>.

        Exit codes: <info>0</info> it was told to end, or has reached a bound of its options; <info>1</info> the server does not let it listen, or may not be used; <info>64</info> mistakes in the configuration or the options. While no server runs, it waits for one.
        HELP;

    public function handle(Repository $config, Dispatcher $events, ExceptionHandler $exceptions): int
    {
        $socket = $this->option('socket');

        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), is_string($socket) && $socket !== '' ? ['socket' => $socket] : []);
        } catch (InvalidConfiguration $e) {
            return $this->fault($e->getMessage(), 64);
        }

        $mistakes = [];
        $app = $this->app($server->apps, $mistakes);
        $bounds = $this->bounds($mistakes);

        if ($app === null || $mistakes !== []) {
            return $this->fault(implode("\n", $mistakes), 64);
        }

        $say = fn (string $words) => $this->output->getErrorStyle()->writeln($words, OutputInterface::OUTPUT_RAW);
        $delivery = new Delivery($events, $exceptions, $this->refresh(...), $say, $bounds);
        $restart = $this->restart();
        $worker = new Worker($server->socket, $app->credentials, $delivery, $bounds, fn (): bool => ! in_array($this->restart(), [null, $restart], true), $say);
        $this->trap(static fn (): array => [SIGTERM, SIGINT, SIGQUIT], $worker->stop(...));

        try {
            $worker->run();
        } catch (ServerUnreachable $e) {
            $e = $e->reason === 'listen_off' ? ListeningEnded::off($app->credentials->id, $app->listener !== null) : $e;

            return $this->fault($e->getMessage(), self::FAILURE);
        } catch (ListeningEnded|UnexpectedAnswer $e) {
            return $this->fault($e->getMessage(), self::FAILURE);
        }

        return self::SUCCESS;
    }

    /**
     * @param  list<AppConfig>  $apps
     * @param  list<string>  $mistakes  where one is noted
     */
    private function app(array $apps, array &$mistakes): ?AppConfig
    {
        $id = $this->option('app');

        if (! is_string($id) || $id === '') {
            return $apps[0];
        }

        foreach ($apps as $app) {
            if ($app->credentials->id === $id) {
                return $app;
            }
        }

        $mistakes[] = "--app: expected the id of an app in fanfare.apps, found \"{$id}\"";

        return null;
    }

    /**
     * @param  list<string>  $mistakes  where those are noted that are found
     */
    private function bounds(array &$mistakes): Bounds
    {
        $number = function (string $option, float $min) use (&$mistakes): float {
            $value = $this->option($option);

            if (! is_numeric($value) || (float) $value < $min) {
                $mistakes[] = "--{$option}: expected a number from {$min} on, found \"".(is_string($value) ? $value : '').'"';

                return $min;
            }

            return (float) $value;
        };

        return new Bounds(
            $this->option('once') === true,
            (int) $number('max-events', 0),
            (int) $number('max-time', 0),
            (int) $number('memory', 1),
            (int) $number('tries', 0),
            $number('backoff', 0),
        );
    }

    /**
     * As a queue worker does it before a job: nothing of one event is there for the next.
     */
    private function refresh(): void
    {
        // The contract of an application does not know it; every application of Laravel's does.
        if ($this->laravel instanceof Container) {
            $this->laravel->forgetScopedInstances();
        }

        Facade::clearResolvedInstances();
    }

    /**
     * When `queue:restart` was run, as far as a cache tells.
     */
    private function restart(): mixed
    {
        try {
            return $this->laravel->make(Factory::class)->store()->get(self::RESTART);
        } catch (Throwable) {
            // Without a cache it has to be ended otherwise.
            return null;
        }
    }

    private function fault(string $message, int $code): int
    {
        $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);

        return $code;
    }
}
