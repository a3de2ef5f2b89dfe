<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * One URL that the server tells what happens in an App's channels, and what of it.
 */
final readonly class WebhookConfig
{
    /**
     * @param  array<string, string>  $headers  sent along, by name
     */
    private function __construct(
        public string $url,
        public EventFilter $filter,
        public array $headers,
    ) {}

    public static function read(Section $webhook): self
    {
        $webhook->only(['url', ...EventFilter::KEYS, 'headers']);

        return new self(
            self::url($webhook),
            EventFilter::read($webhook),
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
        return ['url' => $this->url] + $this->filter->document() + array_filter(['headers' => $this->headers]);
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
            'filter' => $this->filter,
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
