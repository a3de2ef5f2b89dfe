<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\HttpTransport;
use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\ConnectionConfig;
use RuntimeException;

/**
 * How many connections and channels an app has on all servers together, as the HTTP API answers for the fleet.
 */
final readonly class FleetCounts
{
    /**
     * @param  int  $serversMissing  at least so many: one that is cut off cannot know
     */
    private function __construct(public int $connections, public int $channels, public int $serversMissing) {}

    /**
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  list<array-key>  $apps  ids
     * @return array<string, self>  by id, of those that this application has the secrets of
     */
    public static function asked(array $fanfare, array $apps): array
    {
        $counts = [];
        $pool = new Connections;

        foreach (array_map(strval(...), $apps) as $app) {
            $api = new HttpTransport(new ConnectionConfig(static fn (): array => $fanfare, ['app' => $app]), ApiWay::Unix, $pool);

            try {
                $connections = $api->request('GET', '/connections');
                $channels = $api->request('GET', '/channels');
                $counts[$app] = new self(
                    $connections->integer('connections'),
                    count($channels->objects('channels')),
                    max($connections->optionalInteger('nodes_missing') ?? 0, $channels->optionalInteger('nodes_missing') ?? 0),
                );
            } catch (RuntimeException) {
                // An app of another application, or credentials that are wrong, which is a problem of its own.
                continue;
            }
        }

        return $counts;
    }

    /**
     * @param  bool  $isCutOff  whether the server that was asked is
     */
    public function words(bool $isCutOff): string
    {
        $missing = match (true) {
            $this->serversMissing === 0 => '',
            $isCutOff => ", without those from which this server is cut off: at least {$this->serversMissing}",
            default => ", without {$this->serversMissing} that did not answer",
        };

        return number_format($this->connections).' connections, '.number_format($this->channels).' channels'.$missing;
    }
}
