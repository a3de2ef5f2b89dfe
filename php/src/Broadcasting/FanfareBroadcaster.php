<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Broadcasting;

use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\UserWithoutId;
use Fanfare\Laravel\Publishing\ChannelCipher;
use Fanfare\Laravel\Publishing\Outlet;
use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;

/**
 * Laravel's `fanfare` broadcast driver.
 *
 * Owns what lies between Laravel and an outlet: the excluded socket comes out of the payload, channels
 * become names; and the answers to clients that ask to be let in. Nothing is set up before the first
 * broadcast or authorization, so making the driver costs nothing and cannot fail.
 */
final class FanfareBroadcaster extends Broadcaster
{
    use UsePusherChannelConventions;

    /** What a client may ask to subscribe to; what is broadcast is checked by the publisher. */
    private const string CHANNEL = '/\A(?=.{1,200}\z)#?[-a-zA-Z0-9_=@,.;]+\z/';

    /** As the server and the extension have it. */
    private const string SOCKET_ID = '/\A\d{1,19}\.\d{1,19}\z/';

    /** The name of a function in JavaScript, perhaps of an object's; nothing that could be more than a name. */
    private const string CALLBACK = '/\A[a-zA-Z_$][\w$]*(\.[a-zA-Z_$][\w$]*)*\z/';

    /**
     * @param  bool  $allowJsonp  whether a request may name a function that the answer calls, as an option of
     *                            the `pusher` driver allows it too
     */
    public function __construct(
        private readonly Outlet $outlet,
        private readonly ConnectionConfig $config,
        private readonly bool $allowJsonp = false,
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
            $names[] = (string) $channel;
        }

        $this->outlet->broadcast($names, $event, $payload, $except);
    }

    /**
     * Authorizes the request's user for the channel that the client wants to subscribe to.
     *
     * @param  Request  $request
     * @return mixed  what validAuthenticationResponse() returns
     *
     * @throws AccessDeniedHttpException
     */
    public function auth($request): mixed
    {
        $channel = self::input($request, 'channel_name', self::CHANNEL);
        self::input($request, 'socket_id', self::SOCKET_ID);

        $name = $this->normalizeChannelName($channel);

        if ($this->isGuardedChannel($channel) && ! $this->retrieveUser($request, $name)) {
            throw new AccessDeniedHttpException;
        }

        return $this->verifyUserCanAccessChannel($request, $name);
    }

    /**
     * @param  Request  $request  one that auth() has checked
     * @param  mixed  $result  what the channel's callback returned: the member's info on presence channels
     * @return array<string, string>|JsonResponse
     */
    public function validAuthenticationResponse($request, $result): array|JsonResponse
    {
        $channel = self::input($request, 'channel_name', self::CHANNEL);
        $socketId = self::input($request, 'socket_id', self::SOCKET_ID);
        $signature = new PusherSignature($this->config->checked()->app);

        return $this->answer($request, match (true) {
            ChannelCipher::isEncrypted($channel) => $signature->ofEncryptedChannel(
                $socketId,
                $channel,
                $this->outlet->cipher()->sharedSecret($channel),
            ),
            str_starts_with($channel, 'presence-') => $signature->ofPresenceChannel(
                $socketId,
                $channel,
                $this->member($request, $channel, $result),
            ),
            default => $signature->ofChannel($socketId, $channel),
        });
    }

    /**
     * @param  Request  $request
     * @return array<string, string>|null
     *
     * @throws UserWithoutId
     */
    public function resolveAuthenticatedUser($request): ?array
    {
        $user = parent::resolveAuthenticatedUser($request);

        if (! $user) {
            return null;
        }

        $id = is_array($user) ? $user['id'] ?? null : null;

        if (! is_int($id) && (! is_string($id) || $id === '')) {
            throw UserWithoutId::found($id);
        }

        return (new PusherSignature($this->config->checked()->app))->ofUser(
            self::input($request, 'socket_id', self::SOCKET_ID),
            // Clients take a user's id only as text.
            json_encode(['id' => (string) $id] + $user, JSON_THROW_ON_ERROR),
        );
    }

    /**
     * Who the request's user is to the other members of a presence channel, as JSON.
     */
    private function member(Request $request, string $channel, mixed $info): string
    {
        $user = $this->retrieveUser($request, $this->normalizeChannelName($channel));

        $id = match (true) {
            is_object($user) && method_exists($user, 'getAuthIdentifierForBroadcasting') => $user->getAuthIdentifierForBroadcasting(),
            is_object($user) && method_exists($user, 'getAuthIdentifier') => $user->getAuthIdentifier(),
            default => throw new AccessDeniedHttpException('Expected a signed-in user for a presence channel, found none.'),
        };

        return json_encode(['user_id' => $id, 'user_info' => $info], JSON_THROW_ON_ERROR);
    }

    /**
     * @param  array<string, string>  $fields
     * @return array<string, string>|JsonResponse
     */
    private function answer(Request $request, array $fields): array|JsonResponse
    {
        if (! $this->allowJsonp || ! $request->filled('callback')) {
            return $fields;
        }

        $callback = self::input($request, 'callback', self::CALLBACK);

        return (new JsonResponse($fields))->setCallback($callback);
    }

    /**
     * The socket id comes from a header that any client may send: what is none leaves nobody out, and must
     * not keep an event from everybody else.
     */
    private static function socketId(mixed $claimed): ?string
    {
        return is_string($claimed) && preg_match(self::SOCKET_ID, $claimed) === 1 ? $claimed : null;
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
