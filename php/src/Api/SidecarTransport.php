<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Fanfare\Exception as SidecarFailed;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Sidecar;
use Fanfare\Unanswered;

/**
 * Asks through the extension, over a connection of this process to the server on this host: the questions of
 * the HTTP API without HTTP and without signatures. To be used where the extension is loaded.
 */
final readonly class SidecarTransport implements ApiTransport
{
    public function __construct(private ConnectionConfig $config) {}

    public function request(string $method, string $path, array $query = [], ?array $body = null): Answer
    {
        $config = $this->config->checked();
        $target = $query === [] ? $path : $path.'?'.http_build_query($query, encoding_type: PHP_QUERY_RFC3986);
        $text = $body === null ? null : json_encode((object) $body, JSON_THROW_ON_ERROR);

        try {
            // The connection behind it belongs to the process: making the object costs nothing.
            $sidecar = new Sidecar($config->socket, $config->app->key, $config->app->secret, $config->sidecarOptions());
            [$status, $answer] = $sidecar->ask($method, $target, $text);
        } catch (SidecarFailed $e) {
            throw ApiUnreachable::through($e, $e instanceof Unanswered);
        }

        $request = "{$method} {$path} at {$config->socket}";

        return $status === 200 ? Answer::parse($answer, $request) : throw RequestRefused::with($status, $answer, $request);
    }
}
