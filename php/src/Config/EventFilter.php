<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * What of an App's events somebody wants to hear.
 */
final readonly class EventFilter
{
    /** Its keys in the configuration. */
    public const array KEYS = ['events', 'channel_prefix', 'channel_suffix'];

    /** Pusher's names. */
    public const array EVENTS = [
        'channel_occupied',
        'channel_vacated',
        'member_added',
        'member_removed',
        'client_event',
        'cache_miss',
        'subscription_count',
    ];

    /**
     * @param  list<string>  $events  some of EVENTS; none are all
     */
    private function __construct(
        public array $events,
        public ?string $channelPrefix,
        public ?string $channelSuffix,
    ) {}

    public static function read(Section $section): self
    {
        return new self(
            $section->texts(
                'events',
                'one of '.implode(', ', self::EVENTS),
                static fn (string $event): bool => in_array($event, self::EVENTS, true),
            ),
            $section->optionalText('channel_prefix', 'how the names of channels begin'),
            $section->optionalText('channel_suffix', 'how the names of channels end'),
        );
    }

    /**
     * What is kept for a listener, by the app's `listener`: null, when nothing is.
     */
    public static function ofListener(Section $app): ?self
    {
        if (! $app->isArray('listener')) {
            return $app->optionalBoolean('listener') === true ? new self([], null, null) : null;
        }

        $listener = $app->section('listener');
        $listener->only(self::KEYS);

        return self::read($listener);
    }

    /**
     * The filter in the server's document; what is not said is everything.
     *
     * @return array<string, mixed>
     */
    public function document(): array
    {
        return array_filter(
            ['events' => $this->events, 'channel_prefix' => $this->channelPrefix, 'channel_suffix' => $this->channelSuffix],
            static fn (mixed $value): bool => $value !== null && $value !== [],
        );
    }
}
