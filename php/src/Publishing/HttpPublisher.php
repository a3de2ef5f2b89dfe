<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Laravel\Api\ApiTransport;

/**
 * Publishes by the server's HTTP API, one request for each publication, where the extension is not to be had.
 */
final readonly class HttpPublisher implements Publisher
{
    public function __construct(private ApiTransport $api) {}

    public function publish(array $channels, string $event, string $data, ?string $except): void
    {
        $body = ['name' => $event, 'data' => $data];

        // One channel goes as Pusher's SDK sends it, which every server knows.
        $body += count($channels) === 1 ? ['channel' => $channels[0]] : ['channels' => $channels];

        if ($except !== null) {
            $body['socket_id'] = $except;
        }

        $this->api->request('POST', '/events', [], $body);
    }
}
