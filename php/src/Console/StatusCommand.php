<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Config\PublisherConfig;
use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Server\BinaryLocator;
use Fanfare\Laravel\Server\CredentialsProbe;
use Fanfare\Laravel\Server\Health;
use Fanfare\Laravel\Server\Inspector;
use Fanfare\Laravel\Server\Rates;
use Fanfare\Laravel\Server\ServerStatus;
use Fanfare\Laravel\Server\Versions;
use Fanfare\Laravel\Server\WaysOut;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:status`: what the running server is doing. Exit code: 0 when it serves this
 * application in good health, 1 when not or when it cannot be reached, 64 for mistakes in the configuration.
 */
#[AsCommand(name: 'fanfare:status')]
final class StatusCommand extends Command
{
    protected $signature = 'fanfare:status
        {--json : One JSON document on standard output}
        {--interval=1 : Seconds between the two looks that rates are computed from; 0: no rates}
        {--socket= : The Unix socket to ask instead of fanfare.socket}';

    protected $description = 'Show what the Fanfare server is doing; the exit code says whether it is healthy';

    protected $help = <<<'HELP'
        Asks the server over its Unix socket. Run it as root, as the server's user, or as a user of FANFARE_SOCKET_UIDS.

        Exit codes: <info>0</info> healthy, or degraded while Redis is away, as for GET /ready; <info>1</info> not healthy (the problems are listed) or not reachable; <info>64</info> mistakes in the configuration.
        HELP;

    public function handle(Repository $config, BinaryLocator $locator): int
    {
        $socket = $this->option('socket');
        $interval = $this->option('interval');

        if (! is_string($interval) || ! is_numeric($interval) || (float) $interval < 0 || (float) $interval > 3_600) {
            return $this->fault("--interval: expected seconds from 0 to 3600, found \"{$interval}\".", 'usage', 64);
        }

        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), is_string($socket) ? ['socket' => $socket] : [], (array) $config->get('database.redis'));
            $ways = new WaysOut(PublisherConfig::from((array) $config->get('fanfare'), ConnectionConfig::ofDefault($config)));
            $inspector = new Inspector($server->socket);
            $status = $inspector->status();
            $fault = CredentialsProbe::fault(['socket' => $server->socket] + (array) $config->get('fanfare'), ConnectionConfig::ofDefault($config));
            $rates = (float) $interval > 0 ? Rates::measured($inspector, $status, (float) $interval) : null;
        } catch (InvalidConfiguration $e) {
            return $this->fault($e->getMessage(), 'configuration', 64);
        } catch (ServerUnreachable $e) {
            return $this->fault($e->getMessage(), $e->reason, self::FAILURE);
        }

        $status = $rates === null ? $status : $rates->now;
        $versions = Versions::installed($locator, $server->binary);
        $problems = Health::problems($status, $versions, $server, $ways, $fault);
        $fleet = $status->hasOthers() ? FleetCounts::asked(['socket' => $server->socket] + (array) $config->get('fanfare'), array_keys($status->apps)) : [];

        $this->option('json')
            ? $this->writeJson($status, $versions, $rates, $problems, $ways, $fleet)
            : $this->writeTable($status, $versions, $rates, $problems, $server, $ways, $fleet);

        return $problems === [] ? self::SUCCESS : self::FAILURE;
    }

    /**
     * @param  list<string>  $problems
     * @param  array<string, FleetCounts>  $fleet
     */
    private function writeJson(ServerStatus $status, Versions $versions, ?Rates $rates, array $problems, WaysOut $ways, array $fleet): void
    {
        $this->json([
            'healthy' => $problems === [],
            'degraded' => $status->degraded(),
            'problems' => $problems,
            'fleet' => $status->hasOthers() ? ['apps' => $fleet] : null,
            'versions' => ['server' => $status->version, 'extension' => $versions->extension, 'binary' => $versions->binary],
            'binary' => $versions->path,
            'transport' => $ways->words(),
            'rates' => $rates?->perSecond,
            'server' => $status->document,
        ]);
    }

    /**
     * @param  list<string>  $problems
     * @param  array<string, FleetCounts>  $fleet
     */
    private function writeTable(ServerStatus $status, Versions $versions, ?Rates $rates, array $problems, ServerConfig $config, WaysOut $ways, array $fleet): void
    {
        $rows = [
            'Server' => "{$status->phase}, version {$status->version}, pid {$status->pid}",
            'Uptime' => self::duration($status->uptimeS).', since '.date('Y-m-d H:i:s T', $status->startedAt),
            'Extension in this PHP' => $versions->extension === null ? 'not loaded' : "version {$versions->extension}",
            'Broadcasts of this PHP go by' => $ways->words(),
            'Binary' => $versions->binary === null ? 'none that runs' : "version {$versions->binary}, {$versions->path}",
            'Listening on' => implode(', ', $status->listen),
            'Socket' => $config->socket,
            'Connections' => number_format($status->metric('connections')).' of at most '.number_format($status->limits['connections_max'] ?? 0),
            'Channels' => number_format($status->channels()),
            'Attached PHP processes' => $status->attachedByRing + $status->attachedBySocket === 0 ? '0'
                : "{$status->attachedByRing} by shared memory, {$status->attachedBySocket} by socket",
            'Listeners (fanfare:listen)' => self::listeners($status),
            'Publications' => number_format($status->metric('publications_total')).' so far'.self::rate($rates, 'publications_total'),
            'Deliveries' => number_format($status->metric('deliveries_total')).' so far'.self::rate($rates, 'deliveries_total'),
            'Messages from clients' => number_format($status->metric('messages_total')).' so far'.self::rate($rates, 'messages_total'),
            'Memory' => $status->memoryBytes === null ? 'not known' : number_format($status->memoryBytes / 1_048_576, 1).' MiB',
            'Open files' => $status->openFiles === null ? 'not known' : number_format($status->openFiles).' of at most '.number_format($status->openFilesMax ?? 0),
            'Threads (shards)' => (string) $status->shards,
        ];

        $this->newLine();

        foreach (array_filter($rows, is_string(...)) as $name => $value) {
            $this->components->twoColumnDetail($name, self::plain($value));
        }

        $this->newLine();

        foreach ($status->apps as $id => $app) {
            $this->components->twoColumnDetail(
                self::plain("App {$id}").($app['enabled'] ? '' : ' (switched off)'),
                number_format($app['connections']).' connections, '.number_format($app['channels']).' channels'.($status->hasOthers() ? ' here' : ''),
            );

            if (isset($fleet[$id])) {
                $this->components->twoColumnDetail(self::plain("App {$id}, in the fleet"), $fleet[$id]->words($status->degraded() !== null));
            }
        }

        $this->newLine();

        foreach (self::fleet($status, $rates) as $name => $value) {
            $this->components->twoColumnDetail($name, self::plain($value));
        }

        $this->newLine();

        foreach ($problems as $problem) {
            $this->components->error(self::plain($problem));
        }

        $degraded = $status->degraded();

        if ($degraded !== null) {
            $this->components->warn(self::plain("Degraded: {$degraded}. This server's own clients are served. `php artisan fanfare:doctor` looks at Redis from here."));
        } elseif ($problems === []) {
            $this->components->info('Healthy.');
        }
    }

    private function fault(string $message, string $reason, int $code): int
    {
        $this->option('json')
            ? $this->json(['healthy' => false, 'problems' => [$message], 'reason' => $reason])
            : $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);

        return $code;
    }

    /**
     * @param  array<string, mixed>  $document
     */
    private function json(array $document): void
    {
        $this->output->writeln(
            json_encode($document, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE),
            OutputInterface::OUTPUT_RAW,
        );
    }

    /**
     * Null where nobody listens or should.
     */
    private static function listeners(ServerStatus $status): ?string
    {
        $listeners = $status->metric('listeners');
        $waiting = $status->metric('listener_events_waiting');
        $missed = $status->metric('listener_events_dropped_total');

        return $listeners + $waiting + $missed === 0 ? null
            : number_format($listeners).', '.number_format($waiting).' events waiting'.($missed === 0 ? '' : ', '.number_format($missed).' dropped');
    }

    /**
     * What there is to say of other servers; nothing where there are none.
     *
     * @return array<string, string>
     */
    private static function fleet(ServerStatus $status, ?Rates $rates): array
    {
        if (! $status->hasOthers()) {
            return [];
        }

        $reason = $status->degraded();
        $standingS = $status->standingS();
        $since = $standingS === null ? '' : ' for '.self::duration($standingS);
        $lost = $status->metric('fleet_leases_lost_total');
        $dropped = $status->metric('broker_dropped_total');

        return [
            'Redis' => match (true) {
                $reason === null => "connected{$since}",
                $status->metric('broker_away') > 0 => "away{$since}: {$reason}",
                default => $reason,
            },
            'Servers of the fleet' => self::living($status).", this one is {$status->nodeId()}"
                .($lost === 0 ? '' : ', taken for dead '.number_format($lost).' times'),
            'Messages to other servers' => number_format($status->metric('broker_published_total')).' so far'.self::rate($rates, 'broker_published_total')
                .', '.number_format($status->metric('broker_waiting_bytes')).' bytes waiting'.($dropped === 0 ? '' : ', '.number_format($dropped).' dropped'),
            'Messages of other servers' => number_format($status->metric('broker_heard_total')).' so far'.self::rate($rates, 'broker_heard_total'),
        ];
    }

    /**
     * A server that is cut off, or has not found its place yet, knows at most how many there were.
     */
    private static function living(ServerStatus $status): string
    {
        $living = $status->metric('fleet_nodes');

        return match (true) {
            $status->degraded() === null && $living > 0 => number_format($living).' live',
            $living > 0 => 'how many live is not known while this one is cut off, '.number_format($living).' did before',
            default => 'how many live is not known yet',
        };
    }

    private static function rate(?Rates $rates, string $metric): string
    {
        return $rates === null ? '' : ', '.number_format($rates->perSecond[$metric], 1).' a second';
    }

    private static function duration(int $seconds): string
    {
        $parts = array_filter([
            'd' => intdiv($seconds, 86_400),
            'h' => intdiv($seconds, 3_600) % 24,
            'min' => intdiv($seconds, 60) % 60,
            's' => $seconds % 60,
        ]);

        return $parts === [] ? '0 s' : implode(' ', array_map(static fn (int $n, string $unit): string => "{$n} {$unit}", $parts, array_keys($parts)));
    }

    /** Text with a backslash or an angle bracket is text, and no style. */
    private static function plain(string $text): string
    {
        return \Symfony\Component\Console\Formatter\OutputFormatter::escape($text);
    }
}
