<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Exceptions\ServerUnreachable;
use JsonException;
use UnexpectedValueException;

/**
 * Asks the server on this host about itself, over its Unix socket.
 */
final readonly class Inspector
{
    public function __construct(private string $socket, private int $timeoutMs = 2_000) {}

    /**
     * @throws ServerUnreachable
     */
    public function status(): ServerStatus
    {
        $body = LocalRequest::get($this->socket, '/status', $this->timeoutMs)->body();

        try {
            return ServerStatus::from((array) json_decode($body, true, flags: JSON_THROW_ON_ERROR));
        } catch (JsonException) {
            throw ServerUnreachable::answered($this->socket, 'an answer that is no JSON');
        } catch (UnexpectedValueException $e) {
            throw ServerUnreachable::answered($this->socket, $e->getMessage());
        }
    }

    /**
     * What is published from now on, one line of JSON each, until the server leaves. Null now and then,
     * when there is nothing.
     *
     * @param  string|null  $app  an app's id
     * @param  string|null  $channel  a channel's name; `*` stands for any text
     * @return iterable<string|null>
     *
     * @throws ServerUnreachable
     */
    public function tail(?string $app, ?string $channel): iterable
    {
        $query = http_build_query(array_filter(compact('app', 'channel'), is_string(...)), encoding_type: PHP_QUERY_RFC3986);

        return LocalRequest::get($this->socket, "/tail?{$query}", $this->timeoutMs)->lines();
    }
}
