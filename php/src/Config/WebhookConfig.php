<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * One URL that the server tells what happens in an App's channels, and what of it.
 */
final readonly class WebhookConfig
{
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
     * @param  array<string, string>  $headers  sent along, by name
     */
    private function __construct(
        public string $url,
        public array $events,
        public ?string $channelPrefix,
        public ?string $channelSuffix,
        public array $headers,
    ) {}

    public static function read(Section $webhook): self
    {
        $webhook->only(['url', 'events', 'channel_prefix', 'channel_suffix', 'headers']);

        return new self(
            self::url($webhook),
            $webhook->texts(
                'events',
                'one of '.implode(', ', self::EVENTS),
                static fn (string $event): bool => in_array($event, self::EVENTS, true),
            ),
            $webhook->optionalText('channel_prefix', 'how the names of channels begin'),
            $webhook->optionalText('channel_suffix', 'how the names of channels end'),
            $webhook->secretsByName('headers', 'a header\'s value by its name'),
        );
    }

    /**
     * The webhook in the server's document.
     *
     * @return array<string, mixed>
     */
    public function document(): array
    {
        return array_filter(
            [
                'url' => $this->url,
                'events' => $this->events,
                'channel_prefix' => $this->channelPrefix,
                'channel_suffix' => $this->channelSuffix,
                'headers' => $this->headers,
            ],
            static fn (mixed $value): bool => $value !== null && $value !== [],
        );
    }

    /**
     * Keeps what may be a token, in the URL's query or in a header, out of dumps and logs.
     *
     * @return array<string, mixed>
     */
    public function __debugInfo(): array
    {
        return [
            'url' => strtok($this->url, '?'),
            'events' => $this->events,
            'channelPrefix' => $this->channelPrefix,
            'channelSuffix' => $this->channelSuffix,
            'headers' => array_fill_keys(array_keys($this->headers), '(hidden)'),
        ];
    }

    private static function url(Section $webhook): string
    {
        $expected = 'a URL that begins with https:// or http://';
        $url = $webhook->text('url', '', $expected, 'name where the events are to be sent');
        $parts = parse_url($url);

        if ($url !== '' && (! in_array($parts['scheme'] ?? null, ['http', 'https'], true) || ($parts['host'] ?? '') === '')) {
            // A query, or what stands before an @, may be a secret.
            $webhook->mistaken('url', $expected, $url, 'write it as a browser\'s address line shows it', secret: strpbrk($url, '?@') !== false);
        } elseif (isset($parts['user'])) {
            $webhook->mistaken('url', 'a URL without a user name', $url, 'send an Authorization header instead (headers)', secret: true);
        }

        return $url;
    }
}
