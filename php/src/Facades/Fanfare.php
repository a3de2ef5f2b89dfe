<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Facades;

use Fanfare\Laravel\Client;
use Illuminate\Support\Facades\Facade;

/**
 * The client of the default connection's app.
 *
 * @method static Client app(string $id)
 * @method static array<string, \Fanfare\Laravel\Api\Channel> channels(string $prefix = '')
 * @method static \Fanfare\Laravel\Api\Channel channel(string $name)
 * @method static list<\Fanfare\Laravel\Api\Member> members(string $channel)
 * @method static int connections()
 * @method static void terminate(string|int $userId)
 * @method static void toUser(string|int $userId, string $event, mixed $data = [])
 * @method static void broadcast(string|\Stringable|iterable $channels, string $event, mixed $data = [], ?string $except = null)
 *
 * @see Client
 */
final class Fanfare extends Facade
{
    protected static function getFacadeAccessor(): string
    {
        return Client::class;
    }
}
