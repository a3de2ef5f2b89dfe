<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * One App as the server is told about it: who it is, and what it has of its own. What is null or
 * empty is not told, so that the server's own default holds.
 */
final readonly class AppConfig
{
    private const array KEYS = [
        'id',
        'key',
        'secret',
        'encryption_master_key',
        'enabled',
        'client_events',
        'subscription_count',
        'allowed_origins',
        'missing_origin',
        'limits',
        'webhooks',
        'listener',
    ];

    /**
     * @param  list<string>  $allowedOrigins
     * @param  'allow'|'refuse'|null  $missingOrigin
     * @param  array<string, int>  $limits
     * @param  list<WebhookConfig>  $webhooks
     * @param  EventFilter|null  $listener  what is kept for `fanfare:listen`; null: nothing
     */
    private function __construct(
        public AppCredentials $credentials,
        public ?bool $enabled,
        public ?bool $clientEvents,
        public ?bool $subscriptionCount,
        public array $allowedOrigins,
        public ?string $missingOrigin,
        public array $limits,
        public array $webhooks,
        public ?EventFilter $listener,
    ) {}

    /**
     * The apps in `fanfare.apps`, at least one, ids and keys unique.
     *
     * @param  list<Section>  $sections  one for each app
     * @return list<self>
     */
    public static function list(array $sections, Mistakes $mistakes): array
    {
        return array_map(self::read(...), $sections, AppCredentials::list($sections, $mistakes));
    }

    /**
     * The app in the server's document.
     *
     * @return array<string, mixed>
     */
    public function document(): array
    {
        $own = [
            'enabled' => $this->enabled,
            'client_events' => $this->clientEvents,
            'subscription_count' => $this->subscriptionCount,
            'allowed_origins' => $this->allowedOrigins,
            'missing_origin' => $this->missingOrigin,
            'limits' => $this->limits,
            'webhooks' => array_map(static fn (WebhookConfig $webhook): array => $webhook->document(), $this->webhooks),
            // All of it has a shorter word.
            'listener' => $this->listener === null ? null : ($this->listener->document() ?: true),
        ];

        return (
            ['id' => $this->credentials->id, 'key' => $this->credentials->key, 'secret' => $this->credentials->secret]
            + array_filter($own, static fn (mixed $value): bool => $value !== null && $value !== [])
        );
    }

    private static function read(Section $app, AppCredentials $credentials): self
    {
        $app->only(self::KEYS);

        return new self(
            $credentials,
            $app->optionalBoolean('enabled'),
            $app->optionalBoolean('client_events'),
            $app->optionalBoolean('subscription_count'),
            self::origins($app),
            $app->optionalOneOf('missing_origin', ['allow', 'refuse']),
            $app->integersByName('limits'),
            array_map(WebhookConfig::read(...), $app->sections('webhooks')),
            EventFilter::ofListener($app),
        );
    }

    /**
     * @return list<string>
     */
    private static function origins(Section $app): array
    {
        // Left out, it lets all pages in; an empty one would say the opposite of what was meant.
        if ($app->isEmpty('allowed_origins')) {
            $app->mistaken('allowed_origins', 'at least one origin', null, 'name the origins of your pages, or * for all');
        }

        // What a pattern may look like is the server's to say: it knows how browsers write origins.
        return $app->texts('allowed_origins', 'an origin such as https://example.com, *.example.com or *', static fn (): bool => true);
    }
}
