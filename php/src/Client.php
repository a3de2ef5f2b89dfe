<?php

declare(strict_types=1);

namespace Fanfare\Laravel;

use Closure;
use Fanfare\Laravel\Api\Answer;
use Fanfare\Laravel\Api\ApiTransport;
use Fanfare\Laravel\Api\CachedEvent;
use Fanfare\Laravel\Api\Channel;
use Fanfare\Laravel\Api\Member;
use Fanfare\Laravel\Exceptions\ApiFailed;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\InvalidName;
use Fanfare\Laravel\Publishing\Outlet;
use Illuminate\Broadcasting\BroadcastException;
use Stringable;

/**
 * What Laravel's broadcasting has no word for: who is there, sending somebody away, and publishing without
 * event objects. Speaks for one app of the server; app() gives the client of another one.
 *
 * Publications take the way of the `fanfare` driver. Questions are those of the server's HTTP API; the
 * extension asks them without HTTP, and without it they go by the Unix socket or to the configured URL.
 */
final readonly class Client
{
    private const string CHANNEL = '/\A(#server-to-user-)?[-a-zA-Z0-9_=@,.;]+\z/';

    private const int NAME_BYTES_MAX = 200;

    private const string TO_USER = '#server-to-user-';

    private const string PRESENCE = 'presence-';

    /**
     * @param  Closure(string): self  $ofApp  makes the client of the app with this id
     */
    public function __construct(
        private Outlet $outlet,
        private ApiTransport $api,
        private Closure $ofApp,
    ) {}

    /**
     * The same for another app in `fanfare.apps`.
     */
    public function app(string $id): self
    {
        return ($this->ofApp)($id);
    }

    /**
     * The channels that anybody is subscribed to, by name. Members are counted if the prefix allows presence
     * channels only.
     *
     * @return array<string, Channel>
     *
     * @throws ApiFailed|InvalidConfiguration
     */
    public function channels(string $prefix = ''): array
    {
        $query = ['info' => str_starts_with($prefix, self::PRESENCE) ? 'user_count,subscription_count' : 'subscription_count'];

        if ($prefix !== '') {
            $query['filter_by_prefix'] = $prefix;
        }

        $channels = [];

        foreach ($this->api->request('GET', '/channels', $query)->objects('channels') as $name => $channel) {
            $channels[(string) $name] = new Channel(
                (string) $name,
                true,
                $channel->optionalInteger('subscription_count'),
                $channel->optionalInteger('user_count'),
            );
        }

        return $channels;
    }

    /**
     * One channel, occupied or not.
     *
     * @throws ApiFailed|InvalidConfiguration|InvalidName
     */
    public function channel(string $name): Channel
    {
        $info = ['subscription_count'];

        if (str_starts_with($name, self::PRESENCE)) {
            $info[] = 'user_count';
        }

        if (preg_match('/\A((private|private-encrypted|presence)-)?cache-/', $name) === 1) {
            $info[] = 'cache';
        }

        $answer = $this->api->request('GET', '/channels/'.self::channelName($name), ['info' => implode(',', $info)]);
        $cached = $answer->optionalObject('cache');

        return new Channel(
            $name,
            $answer->boolean('occupied'),
            $answer->optionalInteger('subscription_count'),
            $answer->optionalInteger('user_count'),
            $cached === null ? null : new CachedEvent($cached->text('data'), $cached->integer('ttl')),
        );
    }

    /**
     * The users on a presence channel.
     *
     * @return list<Member>
     *
     * @throws ApiFailed|InvalidConfiguration|InvalidName
     */
    public function members(string $channel): array
    {
        if (! str_starts_with($channel, self::PRESENCE)) {
            throw InvalidName::ofPresenceChannel($channel);
        }

        $users = $this->api->request('GET', '/channels/'.self::channelName($channel).'/users')->objects('users');

        return array_map(static fn (Answer $user): Member => new Member($user->text('id')), array_values($users));
    }

    /**
     * How many connections the app has.
     *
     * @throws ApiFailed|InvalidConfiguration
     */
    public function connections(): int
    {
        return $this->api->request('GET', '/connections')->integer('connections');
    }

    /**
     * Closes all connections of a user: those that are signed in as the user, and those that are the user on a
     * presence channel. Clients do not come back by themselves.
     *
     * @throws ApiFailed|InvalidConfiguration|InvalidName
     */
    public function terminate(string|int $userId): void
    {
        if ($userId === '') {
            throw InvalidName::ofUser('');
        }

        $this->api->request('POST', '/users/'.rawurlencode((string) $userId).'/terminate_connections', [], []);
    }

    /**
     * Publishes to all connections that are signed in as a user.
     *
     * @throws BroadcastException|ExtensionMissing|InvalidConfiguration|InvalidName
     */
    public function toUser(string|int $userId, string $event, mixed $data = []): void
    {
        $channel = self::TO_USER.$userId;

        if (! self::isChannelName($channel)) {
            throw InvalidName::ofUser((string) $userId);
        }

        $this->outlet->broadcast([$channel], $event, $data, null);
    }

    /**
     * Publishes without an event object and without a queue: what a loop of many small publications wants.
     *
     * @param  string|Stringable|iterable<string|Stringable>  $channels  full names, such as "private-orders.7", or Laravel's channel objects
     * @param  mixed  $data  what can be written as JSON
     * @param  string|null  $except  the socket id of the one client that does not receive it
     *
     * @throws BroadcastException|ExtensionMissing|InvalidConfiguration
     */
    public function broadcast(string|Stringable|iterable $channels, string $event, mixed $data = [], ?string $except = null): void
    {
        if (is_string($channels)) {
            $names = [$channels];
        } elseif ($channels instanceof Stringable) {
            $names = [(string) $channels];
        } else {
            $names = [];

            foreach ($channels as $channel) {
                $names[] = (string) $channel;
            }
        }

        $this->outlet->broadcast($names, $event, $data, $except);
    }

    /**
     * A name that may stand in a path as it is.
     */
    private static function channelName(string $name): string
    {
        return self::isChannelName($name) ? str_replace('#', '%23', $name) : throw InvalidName::ofChannel($name);
    }

    private static function isChannelName(string $name): bool
    {
        return strlen($name) <= self::NAME_BYTES_MAX && preg_match(self::CHANNEL, $name) === 1;
    }
}
