<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\RequestRefused;

/**
 * Asks over HTTP, with requests that are signed as Pusher's SDKs sign them: any server that speaks Pusher's
 * HTTP API understands them.
 */
final readonly class HttpTransport implements ApiTransport
{
    public function __construct(
        private ConnectionConfig $config,
        private ApiWay $way,
        private Connections $connections,
    ) {}

    public function request(string $method, string $path, array $query = [], ?array $body = null): Answer
    {
        $config = $this->config->checked();
        $endpoint = $config->endpoint($this->way);
        $path = "/apps/{$config->app->id}{$path}";
        $text = $body === null ? '' : json_encode((object) $body, JSON_THROW_ON_ERROR);
        $query = (new RequestSignature($config->app))->sign($method, $path, $query, $text, time());

        [$status, $answer] = $this->connections->exchange(
            $endpoint,
            $method,
            $path.'?'.http_build_query($query, encoding_type: PHP_QUERY_RFC3986),
            $text,
        );

        $request = "{$method} {$path} at {$endpoint->label()}";

        return $status === 200 ? Answer::parse($answer, $request) : throw RequestRefused::with($status, $answer, $request);
    }
}
