<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * Where a server's HTTP API answers: at the Unix socket of this host, or at a URL.
 */
final readonly class Endpoint
{
    private const string EXPECTED_URL = 'http:// or https:// with a host and perhaps a port and a path, such as http://10.0.0.5:8080';

    /**
     * @param  string|null  $socket  path of the Unix socket; null: the URL's host is connected to
     * @param  string  $url  without a slash at the end; its path stands before /apps and is not signed
     * @param  int  $connectTimeoutMs  within $timeoutMs
     * @param  int  $timeoutMs  for a whole exchange
     */
    private function __construct(
        public ?string $socket,
        public string $url,
        public int $connectTimeoutMs,
        public int $timeoutMs,
    ) {}

    public static function ofSocket(string $path, int $connectTimeoutMs, int $timeoutMs): self
    {
        return new self($path, 'http://localhost', min($connectTimeoutMs, $timeoutMs), $timeoutMs);
    }

    /**
     * The one in `url`; null when there is none. Looking a host up and greeting it over TLS takes what it
     * takes, so that connecting has the whole time.
     */
    public static function ofUrl(Section $publish, int $timeoutMs): ?self
    {
        $url = $publish->optionalText('url', 'a URL');

        if ($url === null) {
            return null;
        }

        $parts = parse_url($url);
        $sound =
            $parts !== false
            && in_array($parts['scheme'] ?? '', ['http', 'https'], true)
            && ($parts['host'] ?? '') !== ''
            && array_intersect_key($parts, ['query' => 1, 'fragment' => 1, 'user' => 1, 'pass' => 1]) === []
            && preg_match('/\A[\x21-\x7e]+\z/', $url) === 1;

        if (! $sound) {
            // What stands before an @ may be a password.
            $shown = preg_replace('~//.*@~s', '//…@', $url);
            $publish->mistaken('url', self::EXPECTED_URL, $shown, 'the key and secret of the app are what requests are signed with');

            return null;
        }

        return new self(null, rtrim($url, '/'), $timeoutMs, $timeoutMs);
    }

    /**
     * As messages call it.
     */
    public function label(): string
    {
        return $this->socket === null ? $this->url : "the socket {$this->socket}";
    }
}
