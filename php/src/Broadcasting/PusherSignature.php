<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Broadcasting;

use Fanfare\Laravel\Config\AppCredentials;

/**
 * The signatures by which an application lets a client into a channel or vouches for its user:
 * HMAC-SHA256 in lower-case hex, as Pusher's "Authorization signatures" and "User authentication"
 * documents define them. Whoever calls has checked the socket id and the channel's name: both are
 * joined by colons, so a colon inside either would sign something else.
 */
final readonly class PusherSignature
{
    public function __construct(private AppCredentials $app) {}

    /**
     * @return array{auth: string}
     */
    public function ofChannel(string $socketId, string $channel): array
    {
        return ['auth' => $this->sign("{$socketId}:{$channel}")];
    }

    /**
     * @return array{auth: string, channel_data: string}
     */
    public function ofPresenceChannel(string $socketId, string $channel, string $channelData): array
    {
        return [
            'auth' => $this->sign("{$socketId}:{$channel}:{$channelData}"),
            'channel_data' => $channelData,
        ];
    }

    /**
     * @param  string  $sharedSecret  the channel's key in base64, with which the client opens what it receives
     * @return array{auth: string, shared_secret: string}
     */
    public function ofEncryptedChannel(string $socketId, string $channel, string $sharedSecret): array
    {
        return ['auth' => $this->sign("{$socketId}:{$channel}"), 'shared_secret' => $sharedSecret];
    }

    /**
     * @return array{auth: string, user_data: string}
     */
    public function ofUser(string $socketId, string $userData): array
    {
        return [
            'auth' => $this->sign("{$socketId}::user::{$userData}"),
            'user_data' => $userData,
        ];
    }

    private function sign(string $text): string
    {
        return $this->app->key.':'.hash_hmac('sha256', $text, $this->app->secret);
    }
}
