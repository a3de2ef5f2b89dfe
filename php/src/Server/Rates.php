<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\ServerUnreachable;

/**
 * How fast the counters grow, from two looks at them.
 */
final readonly class Rates
{
    /**
     * @param  array<string, float>  $perSecond  by the counter's name
     */
    private function __construct(public ServerStatus $now, public array $perSecond) {}

    /**
     * Waits, and looks again.
     *
     * @throws ServerUnreachable
     */
    public static function measured(Inspector $inspector, ServerStatus $before, float $intervalS): self
    {
        $began = hrtime(true);
        usleep((int) ($intervalS * 1_000_000));
        $now = $inspector->status();

        return self::between($before, $now, (hrtime(true) - $began) / 1e9);
    }

    public static function between(ServerStatus $before, ServerStatus $now, float $seconds): self
    {
        $rates = [];

        foreach ($now->metrics as $name => $value) {
            if (str_ends_with($name, '_total')) {
                // A server that was started in between counts from nothing.
                $from = $before->pid === $now->pid ? $before->metric($name) : 0;
                $rates[$name] = round(max(0, $value - $from) / $seconds, 2);
            }
        }

        return new self($now, $rates + ['publications_total' => 0.0, 'deliveries_total' => 0.0, 'messages_total' => 0.0]);
    }
}
