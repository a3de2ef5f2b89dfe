<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * A client's connection, as much of RFC 6455 as a Pusher client needs. Waiting is always for a message or
 * for the end; the deadline only turns a hang into a failure.
 */
final class WebSocket
{
    private const int DEADLINE_S = 30;

    private const int TEXT = 1;

    private const int CLOSE = 8;

    /** @var resource */
    private $stream;

    public readonly string $socketId;

    public function __construct(string $url)
    {
        $parts = (array) parse_url($url);
        $stream = stream_socket_client("tcp://{$parts['host']}:{$parts['port']}", timeout: self::DEADLINE_S);

        if ($stream === false) {
            throw new RuntimeException("expected somebody at {$url}");
        }

        $this->stream = $stream;
        stream_set_timeout($stream, self::DEADLINE_S);
        fwrite($stream, "GET {$parts['path']}?".($parts['query'] ?? '')." HTTP/1.1\r\nHost: {$parts['host']}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            .'Sec-WebSocket-Version: 13'."\r\n".'Sec-WebSocket-Key: '.base64_encode(random_bytes(16))."\r\n\r\n");

        $status = (string) fgets($stream);

        if (! str_contains($status, ' 101 ')) {
            throw new RuntimeException("expected status 101 at {$url}, found {$status}");
        }

        while (rtrim((string) fgets($stream)) !== '');

        $established = $this->await('pusher:connection_established');
        $this->socketId = json_decode($established['data'], true, flags: JSON_THROW_ON_ERROR)['socket_id'];
    }

    /**
     * @param  array<string, mixed>  $data
     * @param  string|null  $channel  of a client event
     */
    public function send(string $event, array $data, ?string $channel = null): void
    {
        $this->frame(self::TEXT, json_encode(array_filter(compact('event', 'channel'), is_string(...)) + compact('data'), JSON_THROW_ON_ERROR));
    }

    /**
     * Subscribes, and waits until that is confirmed.
     *
     * @param  array<string, string>  $data  what a channel that is not public wants
     */
    public function subscribe(string $channel, array $data = []): self
    {
        $this->send('pusher:subscribe', ['channel' => $channel] + $data);
        $this->await('pusher_internal:subscription_succeeded');

        return $this;
    }

    /**
     * The same as the chat application lets it in.
     *
     * @param  string|null  $channelData  JSON, of a presence channel
     */
    public function subscribeSigned(string $channel, ?string $channelData = null): self
    {
        $text = "{$this->socketId}:{$channel}".($channelData === null ? '' : ":{$channelData}");
        $data = ['auth' => ChatApplication::KEY.':'.hash_hmac('sha256', $text, ChatApplication::SECRET)];

        return $this->subscribe($channel, $channelData === null ? $data : $data + ['channel_data' => $channelData]);
    }

    /**
     * Signs in as a user of the chat application.
     */
    public function signIn(string $id): self
    {
        $user = json_encode(['id' => $id], JSON_THROW_ON_ERROR);
        $this->send('pusher:signin', [
            'auth' => ChatApplication::KEY.':'.hash_hmac('sha256', "{$this->socketId}::user::{$user}", ChatApplication::SECRET),
            'user_data' => $user,
        ]);
        $this->await('pusher:signin_success');

        return $this;
    }

    /**
     * Waits for the next event that is not of the protocol.
     *
     * @return array{event: string, channel: string, data: string}
     */
    public function event(): array
    {
        do {
            $message = $this->message();
        } while (str_starts_with($message['event'], 'pusher'));

        return ['event' => $message['event'], 'channel' => $message['channel'], 'data' => $message['data']];
    }

    /**
     * Waits for an event of the protocol; what comes before it is passed over for good.
     *
     * @return array<string, mixed>
     */
    public function await(string $event): array
    {
        do {
            $message = $this->message();
        } while ($message['event'] !== $event);

        return $message;
    }

    /**
     * Waits until the server closes; what comes before is passed over.
     */
    public function closeCode(): int
    {
        do {
            [$kind, $payload] = $this->read();
        } while ($kind !== self::CLOSE);

        return ((array) unpack('n', $payload))[1];
    }

    public function close(): void
    {
        fclose($this->stream);
    }

    /**
     * @return array<string, mixed>
     */
    private function message(): array
    {
        do {
            [$kind, $payload] = $this->read();

            if ($kind === self::CLOSE) {
                throw new RuntimeException('expected a message, found a close frame: '.substr($payload, 2));
            }
        } while ($kind !== self::TEXT);

        return json_decode($payload, true, flags: JSON_THROW_ON_ERROR);
    }

    /**
     * @return array{int, string}
     */
    private function read(): array
    {
        [$first, $second] = array_values((array) unpack('C2', $this->bytes(2)));
        $length = match ($second) {
            126 => ((array) unpack('n', $this->bytes(2)))[1],
            127 => ((array) unpack('J', $this->bytes(8)))[1],
            default => $second,
        };

        return [$first & 0x0F, $length === 0 ? '' : $this->bytes($length)];
    }

    private function bytes(int $count): string
    {
        $bytes = '';

        while (strlen($bytes) < $count) {
            $chunk = fread($this->stream, max(1, $count - strlen($bytes)));

            if ($chunk === false || $chunk === '') {
                throw new RuntimeException("expected {$count} bytes more, found the end or nothing for ".self::DEADLINE_S.' s');
            }

            $bytes .= $chunk;
        }

        return $bytes;
    }

    private function frame(int $kind, string $payload): void
    {
        $mask = random_bytes(4);
        $length = strlen($payload);
        $head = $length < 126 ? pack('CC', 0x80 | $kind, 0x80 | $length) : pack('CCn', 0x80 | $kind, 0x80 | 126, $length);

        fwrite($this->stream, $head.$mask.($payload ^ str_pad('', $length, $mask)));
    }
}
