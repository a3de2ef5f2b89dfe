<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * One attempt to connect as a browser would (RFC 6455 section 4.1), up to the server's first word.
 */
final readonly class WebSocketHandshake
{
    private const string GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

    private const int ANSWER_BYTES_MAX = 65_536;

    /**
     * @param  string|null  $fault  why there was no answer at all
     * @param  string  $said  the body of a refusal, or the first message
     */
    private function __construct(
        public ?string $fault,
        public ?string $remedy = null,
        public int $status = 0,
        public string $location = '',
        public ?string $event = null,
        public ?int $code = null,
        public string $said = '',
        public string $ms = '',
    ) {}

    /**
     * @param  string  $url  http, https, ws or wss; a path before /app/ may follow
     */
    public static function attempt(string $url, string $key, string $origin, float $timeoutS): self
    {
        $parts = parse_url($url);
        $scheme = is_array($parts) ? ['http' => 'tcp', 'ws' => 'tcp', 'https' => 'tls', 'wss' => 'tls'][$parts['scheme'] ?? ''] ?? null : null;

        if ($scheme === null || ! isset($parts['host'])) {
            return new self('expected a URL such as https://app.example or http://127.0.0.1:8080', 'Correct FANFARE_URL or --url.');
        }

        $port = $parts['port'] ?? ($scheme === 'tls' ? 443 : 80);
        $began = (int) hrtime(true);
        error_clear_last();
        $stream = @stream_socket_client(
            "{$scheme}://{$parts['host']}:{$port}",
            $code,
            $error,
            $timeoutS,
            STREAM_CLIENT_CONNECT,
            stream_context_create(['ssl' => ['peer_name' => trim($parts['host'], '[]')]]),
        );

        if ($stream === false) {
            // A fault of TLS leaves the error empty, and stands in PHP's last warning, unless somebody handles those.
            $reason = (string) $error !== '' ? (string) $error : error_get_last()['message'] ?? ($scheme === 'tls' ? 'no TLS answer' : "error {$code}");
            $reason = (string) preg_replace('/\s+/', ' ', $reason);

            if (str_contains($reason, 'getaddrinfo')) {
                return new self("the name {$parts['host']} is not known here", 'Correct the name in FANFARE_URL or --url, or DNS.');
            }

            if ($scheme !== 'tls' || $code !== 0) {
                return new self("cannot connect: {$reason}");
            }

            // A port that is silent would be so again.
            if (((hrtime(true) - $began) / 1e9) >= $timeoutS) {
                return new self('cannot connect: no TLS answer in time', TlsFault::NO_TLS);
            }

            $fault = TlsFault::of("tls://{$parts['host']}:{$port}", trim($parts['host'], '[]'), $reason, $timeoutS);

            return new self($fault->fault, $fault->remedy);
        }

        stream_set_timeout($stream, (int) $timeoutS, (int) (fmod($timeoutS, 1) * 1e6));
        $nonce = base64_encode(random_bytes(16));
        $authority = $parts['host'].(isset($parts['port']) ? ":{$port}" : '');
        $path = rtrim($parts['path'] ?? '', '/').'/app/'.rawurlencode($key).'?protocol=7&client=fanfare-doctor&version=1.0&flash=false';
        @fwrite(
            $stream,
            "GET {$path} HTTP/1.1\r\nHost: {$authority}\r\nOrigin: {$origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            ."Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {$nonce}\r\n\r\n",
        );

        return self::read($stream, base64_encode(sha1($nonce.self::GUID, true)), $began);
    }

    /**
     * @param  resource  $stream
     */
    private static function read($stream, string $accept, int $began): self
    {
        $answer = '';

        while (! str_contains($answer, "\r\n\r\n")) {
            $chunk = (string) @fread($stream, 8_192);

            if ($chunk === '' || strlen($answer) > self::ANSWER_BYTES_MAX) {
                return new self(
                    'expected an answer to a WebSocket handshake, found '
                    .(stream_get_meta_data($stream)['timed_out'] ? 'none in time' : 'that the connection was closed'),
                );
            }

            $answer .= $chunk;
        }

        [$head, $rest] = explode("\r\n\r\n", $answer, 2);

        if (preg_match('#\AHTTP/1\.[01] (\d{3})#', $head, $matches) !== 1) {
            return new self('expected HTTP/1.1, found something else');
        }

        $status = (int) $matches[1];
        $header = static fn (string $name): string => preg_match("/^{$name}:\s*(.*?)\s*$/mi", $head, $matches) === 1 ? $matches[1] : '';

        if ($status !== 101) {
            // What there is of the body at once says enough.
            return new self(
                null,
                status: $status,
                location: $header('Location'),
                said: $rest === '' && $header('Content-Length') !== '0' ? (string) @fread($stream, 8_192) : $rest,
            );
        }

        if ($header('Sec-WebSocket-Accept') !== $accept) {
            return new self(
                'answers with status 101, but without the right Sec-WebSocket-Accept',
                'A proxy answers by itself, or changes the headers: let it pass them on.',
            );
        }

        $said = self::message($stream, $rest);
        $message = json_decode($said, true);
        $message = is_array($message) ? $message : [];
        $code = $message['data']['code'] ?? null;

        return new self(
            null,
            status: $status,
            event: is_string($message['event'] ?? null) ? $message['event'] : null,
            code: is_int($code) ? $code : null,
            said: $said,
            ms: number_format((hrtime(true) - $began) / 1e6, 1),
        );
    }

    /**
     * The text of the first frame, which the server sends unmasked and whole.
     *
     * @param  resource  $stream
     */
    private static function message($stream, string $bytes): string
    {
        while (true) {
            $length = strlen($bytes) < 4 ? 2 : ord($bytes[1]) & 0x7F;
            [$from, $length] = $length === 126 ? [4, unpack('n', $bytes, 2)[1]] : [2, $length];

            if (strlen($bytes) >= 4 && strlen($bytes) >= ($from + $length)) {
                return substr($bytes, $from, $length);
            }

            $chunk = (string) @fread($stream, 8_192);

            if ($chunk === '') {
                return '';
            }

            $bytes .= $chunk;
        }
    }
}
