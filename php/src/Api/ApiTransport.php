<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;

/**
 * A way to ask a server for one app: the questions of Pusher's HTTP API, whatever carries them.
 *
 * A transport speaks for one app, whose credentials it has; signing is its own affair. What questions
 * there are and what answers mean is left to those who ask.
 */
interface ApiTransport
{
    /**
     * @param  'GET'|'POST'  $method
     * @param  string  $path  below /apps/{id}, such as "/channels/news"
     * @param  array<string, string>  $query
     * @param  array<string, mixed>|null  $body  what is sent as JSON; null: no body
     *
     * @throws ApiUnreachable when nobody answered
     * @throws RequestRefused when the answer is no
     * @throws UnexpectedAnswer when the answer is not a JSON object
     * @throws InvalidConfiguration
     */
    public function request(string $method, string $path, array $query = [], ?array $body = null): Answer;
}
