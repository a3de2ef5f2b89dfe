<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Listening;

use Fanfare\Laravel\Api\Answer;
use Fanfare\Laravel\Events\CacheMiss;
use Fanfare\Laravel\Events\ChannelOccupied;
use Fanfare\Laravel\Events\ChannelVacated;
use Fanfare\Laravel\Events\ClientEvent;
use Fanfare\Laravel\Events\EventsMissed;
use Fanfare\Laravel\Events\MemberAdded;
use Fanfare\Laravel\Events\MemberRemoved;
use Fanfare\Laravel\Events\SubscriptionCount;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;

/**
 * What the server gives a listener at a time, as Laravel's events. It comes again until the listener says that it is
 * done with all of it.
 */
final readonly class Batch
{
    /**
     * @param  bool  $again  whether a listener had it before that was not done with it
     * @param  list<object>  $events  of Fanfare\Laravel\Events, in the order in which it happened
     */
    private function __construct(public string $id, public bool $again, public array $events) {}

    /**
     * @param  string  $app  the app's id
     *
     * @throws UnexpectedAnswer
     */
    public static function read(Answer $line, string $app): self
    {
        $id = $line->text('batch');
        $missed = $line->integer('missed');
        $events = $missed > 0 ? [new EventsMissed("{$id}.missed", $app, $missed)] : [];

        foreach (array_values($line->objects('events')) as $position => $event) {
            $events[] = self::event($event, "{$id}.{$position}", $app);
        }

        return new self($id, $line->boolean('again'), $events);
    }

    private static function event(Answer $event, string $id, string $app): object
    {
        $name = $event->text('name');
        $channel = $event->text('channel');

        return match ($name) {
            'channel_occupied' => new ChannelOccupied($id, $app, $channel),
            'channel_vacated' => new ChannelVacated($id, $app, $channel),
            'member_added' => new MemberAdded($id, $app, $channel, $event->text('user_id')),
            'member_removed' => new MemberRemoved($id, $app, $channel, $event->text('user_id')),
            'client_event' => new ClientEvent(
                $id,
                $app,
                $channel,
                $event->text('event'),
                $event->text('data'),
                $event->text('socket_id'),
                $event->optionalText('user_id'),
            ),
            'cache_miss' => new CacheMiss($id, $app, $channel),
            'subscription_count' => new SubscriptionCount($id, $app, $channel, $event->integer('subscription_count')),
            // To leave it out would be to say that it was heard.
            default => throw UnexpectedAnswer::to(
                'fanfare:listen',
                'an event that this version of the package knows',
                "{$name}: install server and package in the same version",
            ),
        };
    }
}
