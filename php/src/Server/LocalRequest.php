<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Config\SocketPath;
use Fanfare\Laravel\Exceptions\ServerUnreachable;

/**
 * One GET over the server's Unix socket; or a connection that is for something else after it.
 *
 * Owns connecting, the bound on waiting, and telling apart why there is no answer. Speaks HTTP/1.0,
 * so that the body is what comes until the end, without chunks; needs neither ext-curl nor a client
 * library. What the answer means, or what is said afterwards, is left to those who ask.
 */
final class LocalRequest
{
    // Linux has them, and the server runs nowhere else; PHP names them in ext-sockets only.
    private const int ENOENT = 2;

    private const int EAGAIN = 11;

    private const int EACCES = 13;

    private const int ETIMEDOUT = 110;

    private const int ECONNREFUSED = 111;

    /** The status of an upgrade. */
    private const int SWITCHED = 101;

    private const int HEAD_BYTES_MAX = 16_384;

    private const int BODY_BYTES_MAX = 16_777_216;

    /**
     * @param  resource  $stream
     */
    private function __construct(
        private readonly string $socket,
        private $stream,
        private readonly int $timeoutMs,
        private readonly int $status,
        private string $buffer,
    ) {}

    /**
     * Sends the request and reads the head of the answer.
     *
     * @param  string  $target  path and query, encoded
     *
     * @throws ServerUnreachable
     */
    public static function get(string $socket, string $target, int $timeoutMs): self
    {
        return self::exchange($socket, "GET {$target} HTTP/1.0\r\nHost: localhost\r\n\r\n", $timeoutMs);
    }

    /**
     * The same, to go on with the connection by another protocol, line by line.
     *
     * @param  string  $target  path and query, encoded
     *
     * @throws ServerUnreachable when the server does not want to
     */
    public static function upgrade(string $socket, string $target, string $protocol, int $timeoutMs): self
    {
        $request = self::exchange(
            $socket,
            "GET {$target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: {$protocol}\r\n\r\n",
            $timeoutMs,
        );

        if ($request->status !== self::SWITCHED) {
            $request->body();

            throw ServerUnreachable::answered($socket, 'one that does not know what is asked');
        }

        return $request;
    }

    /**
     * The body, read to its end.
     *
     * @throws ServerUnreachable when the answer is not a success
     */
    public function body(): string
    {
        while (! feof($this->stream)) {
            $this->buffer .= (string) @fread($this->stream, 65_536);

            if (stream_get_meta_data($this->stream)['timed_out']) {
                throw ServerUnreachable::notAnswering($this->socket, $this->timeoutMs);
            }

            if (strlen($this->buffer) > self::BODY_BYTES_MAX) {
                throw ServerUnreachable::answered($this->socket, 'an answer without end');
            }
        }

        if ($this->status !== 200) {
            throw $this->failure($this->buffer);
        }

        return $this->buffer;
    }

    /**
     * The body line by line as it comes; it ends when the server ends it. Null is a quarter of a second
     * in which nothing came, so that the caller can look after other things.
     *
     * @return iterable<string|null>
     *
     * @throws ServerUnreachable when the answer is not a success
     */
    public function lines(): iterable
    {
        if ($this->status !== 200 && $this->status !== self::SWITCHED) {
            $this->body();
        }

        stream_set_blocking($this->stream, false);

        while (true) {
            $lines = explode("\n", $this->buffer);
            $this->buffer = array_pop($lines);
            // The empty ones only show that somebody reads.
            yield from array_filter($lines, static fn (string $line): bool => $line !== '');

            $read = [$this->stream];
            $none = null;

            // A signal ends the wait early, and is no failure.
            if (@stream_select($read, $none, $none, 0, 250_000) !== 1) {
                yield null;

                continue;
            }

            $chunk = (string) @fread($this->stream, 65_536);

            if ($chunk === '' && feof($this->stream)) {
                return;
            }

            $this->buffer .= $chunk;
        }
    }

    /**
     * Says a line, on a connection that is upgraded. One that is not taken is for a server that has gone, as the end of
     * its lines tells.
     */
    public function say(string $line): void
    {
        @fwrite($this->stream, "{$line}\n");
    }

    /**
     * @throws ServerUnreachable
     */
    private static function exchange(string $socket, string $request, int $timeoutMs): self
    {
        $stream = self::connect($socket, $timeoutMs);
        stream_set_timeout($stream, intdiv($timeoutMs, 1_000), $timeoutMs % 1_000 * 1_000);
        @fwrite($stream, $request);

        $head = '';

        while (! str_contains($head, "\r\n\r\n")) {
            $chunk = (string) @fread($stream, 8_192);

            if ($chunk === '' || strlen($head) > self::HEAD_BYTES_MAX) {
                throw self::silence($socket, $stream, $timeoutMs, $head);
            }

            $head .= $chunk;
        }

        [$head, $body] = explode("\r\n\r\n", $head, 2);

        if (preg_match('#\AHTTP/1\.[01] (\d{3}) #', $head, $matches) !== 1) {
            throw ServerUnreachable::answered($socket, 'something that is not HTTP');
        }

        return new self($socket, $stream, $timeoutMs, (int) $matches[1], $body);
    }

    /**
     * @return resource
     */
    private static function connect(string $socket, int $timeoutMs)
    {
        if (strlen($socket) > SocketPath::BYTES_MAX) {
            throw ServerUnreachable::because($socket, 'its path has '.strlen($socket).' bytes, and at most '.SocketPath::BYTES_MAX.' can be a socket; set FANFARE_SOCKET to a shorter one');
        }

        $stream = @stream_socket_client("unix://{$socket}", $code, $error, $timeoutMs / 1_000);

        if ($stream !== false) {
            return $stream;
        }

        throw match (true) {
            $code === self::EACCES => ServerUnreachable::notPermitted($socket, User::current()->describe()),
            $code === self::ENOENT => ServerUnreachable::noSocket($socket),
            $code === self::ECONNREFUSED && @filetype($socket) !== 'socket' => ServerUnreachable::because($socket, 'it is another kind of file; move it away, or change FANFARE_SOCKET'),
            $code === self::ECONNREFUSED => ServerUnreachable::nobodyListens($socket),
            $code === self::EAGAIN, $code === self::ETIMEDOUT => ServerUnreachable::notAnswering($socket, $timeoutMs),
            default => ServerUnreachable::because($socket, (string) $error === '' ? "error {$code}" : (string) $error),
        };
    }

    /**
     * @param  resource  $stream
     */
    private static function silence(string $socket, $stream, int $timeoutMs, string $head): ServerUnreachable
    {
        return stream_get_meta_data($stream)['timed_out']
            ? ServerUnreachable::notAnswering($socket, $timeoutMs)
            : ServerUnreachable::answered($socket, $head === '' ? 'that it closed the connection without a word' : 'an answer that breaks off', 'broke_off');
    }

    private function failure(string $body): ServerUnreachable
    {
        $error = json_decode($body, true)['error'] ?? null;
        $message = is_array($error) && is_string($error['message'] ?? null) ? $error['message'] : "status {$this->status}";
        $code = is_array($error) && is_string($error['code'] ?? null) ? $error['code'] : 'refused';

        return match (true) {
            $code === 'forbidden' => ServerUnreachable::notAllowed($this->socket, User::current()->describe()),
            $code === 'not_found', $this->status === 404 && $error === null => ServerUnreachable::answered($this->socket, 'one that does not know what is asked'),
            default => ServerUnreachable::refused($this->socket, $message, $code),
        };
    }
}
