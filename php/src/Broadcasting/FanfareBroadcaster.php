<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Broadcasting;

use Fanfare\Exception as PublishingFailed;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Publishing\Publisher;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Illuminate\Http\Request;
use JsonException;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;
use TypeError;
use ValueError;

/**
 * Laravel's `fanfare` broadcast driver.
 *
 * Owns what lies between Laravel's event and a publication: the excluded socket comes out of the
 * payload, the payload is encoded once, more than 100 channels become several
 * publications. How a publication leaves PHP is the Publisher's. Nothing is set up before the first
 * broadcast or authorization, so making the driver costs nothing and cannot fail.
 */
final class FanfareBroadcaster extends Broadcaster
{
    use UsePusherChannelConventions;

    /** What a client may ask to subscribe to; what is broadcast is checked by the publisher. */
    private const string CHANNEL = '/\A(?=.{1,200}\z)#?[-a-zA-Z0-9_=@,.;]+\z/';

    private const string SOCKET_ID = '/\A\d+\.\d+\z/';

    public function __construct(
        private readonly Publisher $publisher,
        private readonly ConnectionConfig $config,
    ) {}

    /**
     * @param  array<array-key, mixed>  $channels
     * @param  string  $event
     * @param  array<array-key, mixed>  $payload
     *
     * @throws BroadcastException
     */
    public function broadcast(array $channels, $event, array $payload = []): void
    {
        $except = self::socketId($payload['socket'] ?? null);
        unset($payload['socket']);

        $names = [];

        foreach ($channels as $channel) {
            $names[] = self::unencrypted((string) $channel, $event);
        }

        if ($names === []) {
            return;
        }

        try {
            $data = json_encode($payload, JSON_THROW_ON_ERROR);
        } catch (JsonException $e) {
            throw new BroadcastException(
                "Broadcasting [{$event}]: expected a payload that can be written as JSON, found: {$e->getMessage()}.",
                previous: $e,
            );
        }

        $this->publish($names, $event, $data, $except);
    }

    /**
     * Authorizes the request's user for the channel that the client wants to subscribe to.
     *
     * @param  Request  $request
     * @return array<string, string>
     *
     * @throws AccessDeniedHttpException
     */
    public function auth($request): mixed
    {
        $channel = self::input($request, 'channel_name', self::CHANNEL);
        self::input($request, 'socket_id', self::SOCKET_ID);

        if (str_starts_with($channel, 'private-encrypted-')) {
            throw new AccessDeniedHttpException('Encrypted channels are not available through Fanfare: use a private channel.');
        }

        $name = $this->normalizeChannelName($channel);

        if ($this->isGuardedChannel($channel) && ! $this->retrieveUser($request, $name)) {
            throw new AccessDeniedHttpException;
        }

        return $this->verifyUserCanAccessChannel($request, $name);
    }

    /**
     * @param  Request  $request  one that auth() has checked
     * @param  mixed  $result  what the channel's callback returned: the member's info on presence channels
     * @return array<string, string>
     */
    public function validAuthenticationResponse($request, $result): array
    {
        $channel = self::input($request, 'channel_name', self::CHANNEL);
        $socketId = self::input($request, 'socket_id', self::SOCKET_ID);
        $signature = new PusherSignature($this->config->checked()->app);

        if (! str_starts_with($channel, 'presence-')) {
            return $signature->ofChannel($socketId, $channel);
        }

        $user = $this->retrieveUser($request, $this->normalizeChannelName($channel));

        $id = method_exists($user, 'getAuthIdentifierForBroadcasting')
            ? $user->getAuthIdentifierForBroadcasting()
            : $user->getAuthIdentifier();

        return $signature->ofPresenceChannel(
            $socketId,
            $channel,
            json_encode(['user_id' => $id, 'user_info' => $result], JSON_THROW_ON_ERROR),
        );
    }

    /**
     * @param  Request  $request
     * @return array<string, string>|null
     */
    public function resolveAuthenticatedUser($request): ?array
    {
        $user = parent::resolveAuthenticatedUser($request);

        if (! $user) {
            return null;
        }

        return (new PusherSignature($this->config->checked()->app))->ofUser(
            self::input($request, 'socket_id', self::SOCKET_ID),
            json_encode($user, JSON_THROW_ON_ERROR),
        );
    }

    /**
     * @param  non-empty-list<string>  $channels
     */
    private function publish(array $channels, string $event, string $data, ?string $except): void
    {
        $chunks = count($channels) <= Publisher::CHANNELS_MAX
            ? [$channels]
            : array_chunk($channels, Publisher::CHANNELS_MAX);

        foreach ($chunks as $position => $chunk) {
            try {
                $this->publisher->publish($chunk, $event, $data, $except);
            } catch (PublishingFailed|TypeError|ValueError $e) {
                $before = $position * Publisher::CHANNELS_MAX;

                throw new BroadcastException(
                    "Broadcasting [{$event}] to ".count($channels).' channel(s)'
                        .($before === 0 ? '' : ", of which the first {$before} have it,")
                        .' failed: '.$e->getMessage(),
                    previous: $e,
                );
            }
        }
    }

    /**
     * The socket id comes from a header that any client may send: what is none leaves nobody out, and must
     * not keep an event from everybody else.
     */
    private static function socketId(mixed $claimed): ?string
    {
        return is_string($claimed) && preg_match(self::SOCKET_ID, $claimed) === 1 ? $claimed : null;
    }

    private static function unencrypted(string $channel, string $event): string
    {
        // Without encryption in PHP the data would leave in the clear under a name that promises otherwise.
        if (str_starts_with($channel, 'private-encrypted-')) {
            throw new BroadcastException(
                "Broadcasting [{$event}]: expected a public, private or presence channel, found the encrypted channel "
                .self::describe($channel).', which the fanfare driver cannot encrypt for; use a private channel.',
            );
        }

        return $channel;
    }

    /**
     * @throws AccessDeniedHttpException when the input is not text of that form
     */
    private static function input(Request $request, string $name, string $pattern): string
    {
        $value = $request->input($name);

        if (! is_string($value) || preg_match($pattern, $value) !== 1) {
            throw new AccessDeniedHttpException(
                "Expected {$name} as a Pusher client sends it, found ".self::describe($value).'.',
            );
        }

        return $value;
    }

    private static function describe(mixed $value): string
    {
        if (! is_string($value)) {
            return get_debug_type($value);
        }

        return (string) json_encode(
            strlen($value) > 200 ? substr($value, 0, 200).'…' : $value,
            JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE,
        );
    }
}
