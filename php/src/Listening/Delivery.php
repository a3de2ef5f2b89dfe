<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Listening;

use Closure;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher;
use Throwable;

/**
 * Dispatches an event, and again when one of its listeners throws.
 *
 * After the last try the exception is reported and the event is left behind: one listener that always throws must not keep
 * all that comes after it waiting.
 */
final readonly class Delivery
{
    private const float PAUSE_MAX_S = 30.0;

    /**
     * @param  Closure(): void  $refresh  forgets what belongs to the event before
     * @param  Closure(string): void  $say
     */
    public function __construct(
        private Dispatcher $events,
        private ExceptionHandler $exceptions,
        private Closure $refresh,
        private Closure $say,
        private Bounds $bounds,
    ) {}

    /**
     * @param  Closure(float): bool  $pause  waits for so many seconds; false: there is to be no further try
     * @return bool  whether it is done with
     */
    public function deliver(object $event, Closure $pause): bool
    {
        $pauseS = $this->bounds->backoffS;
        $tries = 0;

        while (! $this->dispatch($event, ++$tries)) {
            if (! $pause($pauseS)) {
                return false;
            }

            $pauseS = min(2 * $pauseS, self::PAUSE_MAX_S);
        }

        return true;
    }

    /**
     * @param  int  $try  which one, from 1 on
     * @return bool  whether that was the last one
     */
    private function dispatch(object $event, int $try): bool
    {
        try {
            ($this->refresh)();
            $this->events->dispatch($event);

            return true;
        } catch (Throwable $e) {
            $words = 'A listener of '.$event::class." threw {$e->getMessage()} (".$e::class.')';

            if ($try !== $this->bounds->tries) {
                ($this->say)("{$words}. It is dispatched again.");

                return false;
            }

            $this->exceptions->report($e);
            ($this->say)("{$words} {$try} times. It is reported and left behind.");

            return true;
        }
    }
}
