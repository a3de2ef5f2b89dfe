<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Listening;

use Closure;
use Fanfare\Laravel\Api\Answer;
use Fanfare\Laravel\Config\AppCredentials;
use Fanfare\Laravel\Exceptions\ListeningEnded;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;

/**
 * Takes batches from the server, has their events dispatched, and only then says that it is done with them; goes on
 * through restarts of the server until it is told to end.
 *
 * Owns when to end, which is between two batches, and how long to wait for a server. Leaves the events to Delivery and
 * the connection to Conversation.
 */
final class Worker
{
    private const float PAUSE_S = 0.25;

    private const float PAUSE_MAX_S = 5.0;

    /** How often it is looked whether it is to be replaced: that may be a query. */
    private const int OUTDATED_S = 3;

    private const string LEFT = 'The server has left. Its successor is waited for.';

    private bool $stops = false;

    private int $events = 0;

    private readonly float $startedAt;

    private float $lookedAt;

    /** Whether it was said that the server is away. */
    private bool $isMissing = false;

    /**
     * @param  Closure(): bool  $outdated  whether code or configuration may be others by now
     * @param  Closure(string): void  $say
     */
    public function __construct(
        private readonly string $socket,
        private readonly AppCredentials $app,
        private readonly Delivery $delivery,
        private readonly Bounds $bounds,
        private readonly Closure $outdated,
        private readonly Closure $say,
    ) {
        $this->startedAt = $this->lookedAt = self::now();
    }

    /**
     * Ends it after the batch that it has. May be called by a signal's handler.
     */
    public function stop(): void
    {
        $this->stops = true;
    }

    /**
     * @throws ServerUnreachable when waiting does not help
     * @throws ListeningEnded when the server wants no listener
     * @throws UnexpectedAnswer
     */
    public function run(): void
    {
        $pauseS = self::PAUSE_S;

        while (! $this->isToEnd()) {
            try {
                $conversation = Conversation::begin($this->socket, $this->app);
                $this->isMissing = false;
                $pauseS = self::PAUSE_S;
                $this->attend($conversation);
                // Not to have a turn before itself.
                unset($conversation);
            } catch (ServerUnreachable $e) {
                if (! $e->mayComeBack()) {
                    throw $e;
                }

                // A server that is killed closes what nobody has read yet, and says nothing.
                $this->sayOnce($e->reason === 'broke_off' ? self::LEFT : "{$e->getMessage()} It is waited for.");
                $this->pause($pauseS);
                $pauseS = min(2 * $pauseS, self::PAUSE_MAX_S);
            }
        }
    }

    private function attend(Conversation $conversation): void
    {
        foreach ($conversation->lines() as $line) {
            if ($line !== null && ! $this->hear($line, $conversation) || $this->isToEnd()) {
                return;
            }
        }

        $this->sayOnce(self::LEFT);
    }

    /**
     * @return bool  whether it is done with
     */
    private function finish(Conversation $conversation, Batch $batch): bool
    {
        foreach ($batch->events as $event) {
            if (! $this->delivery->deliver($event, $this->pause(...))) {
                return false;
            }

            $this->events++;
        }

        $conversation->done($batch);

        if ($this->bounds->once) {
            $this->stop();
        }

        return true;
    }

    /**
     * @return bool  whether it is to go on
     *
     * @throws ListeningEnded
     */
    private function hear(Answer $line, Conversation $conversation): bool
    {
        if ($line->has('batch')) {
            return $this->finish($conversation, Batch::read($line, $this->app->id));
        }

        $end = $line->optionalObject('end');

        if ($end !== null) {
            $code = $end->text('code');

            if ($code !== 'leaving') {
                throw ListeningEnded::by($code, $end->text('message'), $this->app->id);
            }
        } elseif ($line->boolean('turn')) {
            ($this->say)("Listening to what happens in the app {$this->app->id} ({$line->integer('waiting')} waiting).");
        } else {
            ($this->say)("Another process listens to the app {$this->app->id}. This one waits for its turn.");
        }

        return true;
    }

    private function isToEnd(): bool
    {
        return (
            $this->stops
            || $this->bounds->eventsMax > 0
            && $this->events >= $this->bounds->eventsMax
            || $this->bounds->secondsMax > 0
            && (self::now() - $this->startedAt) >= $this->bounds->secondsMax
            || memory_get_usage(true) > ($this->bounds->memoryMb * 1_048_576)
            || $this->isOutdated()
        );
    }

    private function isOutdated(): bool
    {
        if ((self::now() - $this->lookedAt) >= self::OUTDATED_S) {
            $this->lookedAt = self::now();

            // A signal may come meanwhile, and must not be unsaid.
            if (($this->outdated)()) {
                $this->stop();
            }
        }

        return $this->stops;
    }

    /**
     * @return bool  whether it is to go on
     */
    private function pause(float $seconds): bool
    {
        $until = self::now() + $seconds;

        // A signal ends a sleep early.
        while (! $this->stops && ($left = $until - self::now()) > 0) {
            usleep(max(1, (int) (min($left, 0.1) * 1_000_000)));
        }

        return ! $this->stops;
    }

    /**
     * Once for each time that it is away: why exactly it cannot be reached changes while it goes and comes.
     */
    private function sayOnce(string $words): void
    {
        if (! $this->isMissing) {
            ($this->say)($words);
            $this->isMissing = true;
        }
    }

    /**
     * Seconds, since some moment: no clock that is set makes a pause longer.
     */
    private static function now(): float
    {
        return (float) hrtime(true) / 1_000_000_000;
    }
}
