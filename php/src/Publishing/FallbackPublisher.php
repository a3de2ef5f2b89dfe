<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Closure;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\NotAccepted;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Rejected;
use Fanfare\Unavailable;
use Throwable;

/**
 * Publishes by the first way that takes it.
 *
 * The next way is tried when a publication cannot have been accepted by this one and another may do better:
 * nobody is there, or the extension is not wanted there. What is wrong with the publication
 * itself, and a server that is there but does not keep up, are told to the caller at once: sending the
 * same elsewhere would hide the one and overtake what waits with the other.
 *
 * A way that failed rests for a second while another one works, so that a loop of broadcasts does not wait
 * for the same time-out again and again.
 */
final class FallbackPublisher implements Publisher
{
    private const int REST_NS = 1_000_000_000;

    private const int SERVICE_UNAVAILABLE = 503;

    /** @var array<int, int>  until when a way rests, by its position; by the monotonic clock */
    private array $resting = [];

    /** @var non-empty-list<Publisher>|null */
    private ?array $known = null;

    /**
     * @param  Closure(): non-empty-list<Publisher>  $ways  in the order in which they are tried
     * @param  (Closure(): int)|null  $clock  nanoseconds that only grow
     */
    public function __construct(private readonly Closure $ways, private readonly ?Closure $clock = null) {}

    public function publish(array $channels, string $event, string $data, ?string $except): void
    {
        $ways = ($this->ways)();

        if ($ways !== $this->known) {
            $this->known = $ways;
            $this->resting = [];
        }

        $failures = [];

        foreach ($this->resting === [] ? array_keys($ways) : $this->inOrder($ways) as $position) {
            try {
                $ways[$position]->publish($channels, $event, $data, $except);
                unset($this->resting[$position]);

                return;
            } catch (Throwable $e) {
                $failures[] = $e;

                if (! self::mayGoElsewhere($e)) {
                    break;
                }

                $this->resting[$position] = $this->now() + self::REST_NS;
            }
        }

        // There is at least one way, so there is at least one failure.
        throw count($failures) > 1 ? NotAccepted::byAny($failures) : $failures[0];
    }

    /**
     * Those that rest come last: they are tried all the same before a publication is given up.
     *
     * @param  non-empty-list<Publisher>  $ways
     * @return list<int>
     */
    private function inOrder(array $ways): array
    {
        $positions = array_keys($ways);
        $now = $this->now();
        $rests = fn (int $position): bool => ($this->resting[$position] ?? 0) > $now;

        return [
            ...array_filter($positions, static fn (int $position): bool => ! $rests($position)),
            ...array_filter($positions, $rests),
        ];
    }

    private static function mayGoElsewhere(Throwable $e): bool
    {
        return match (true) {
            $e instanceof Unavailable, $e instanceof Rejected => true,
            $e instanceof ApiUnreachable => ! $e->mayHaveArrived,
            $e instanceof RequestRefused => $e->status === self::SERVICE_UNAVAILABLE,
            default => false,
        };
    }

    private function now(): int
    {
        return $this->clock === null ? (int) hrtime(true) : ($this->clock)();
    }
}
