<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Fanfare\Laravel\Config\AppCredentials;

/**
 * The signature of a request to the HTTP API, as Pusher's "Authentication of requests" defines it: HMAC-SHA256,
 * in lower-case hex, of the method, the path, and the sorted query, whose values are signed as they are
 * before they are escaped.
 */
final readonly class RequestSignature
{
    public function __construct(private AppCredentials $app) {}

    /**
     * The query with everything that proves who asks.
     *
     * @param  string  $path  as sent, from /apps on
     * @param  array<string, string>  $query  names in lower case
     * @return array<string, string>
     */
    public function sign(string $method, string $path, array $query, string $body, int $timeS): array
    {
        $query =
            [
                'auth_key' => $this->app->key,
                'auth_timestamp' => (string) $timeS,
                'auth_version' => '1.0',
            ] + $query;

        if ($body !== '') {
            $query['body_md5'] = md5($body);
        }

        ksort($query, SORT_STRING);

        $pairs = array_map(static fn (string $name, string $value): string => "{$name}={$value}", array_keys($query), $query);
        $query['auth_signature'] = hash_hmac('sha256', "{$method}\n{$path}\n".implode('&', $pairs), $this->app->secret);

        return $query;
    }
}
