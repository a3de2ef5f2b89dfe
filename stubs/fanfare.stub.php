<?php

/**
 * The PHP extension `fanfare`, for editors and static analysis. Never loaded: `tests/phpt/stub.phpt` compares it
 * with the extension itself.
 */

namespace Fanfare;

/**
 * The Fanfare server on this host. Broadcasts go into memory that it shares with this process, or over its Unix
 * socket where shared memory cannot be had.
 *
 * All objects of a process with the same socket, key, secret and transport share one attachment, which outlives
 * requests and survives forks and restarts of the server.
 */
final class Sidecar
{
    /**
     * Connects nothing yet: the first broadcast does.
     *
     * @param string $socket Path of the server's Unix socket, at most 107 bytes.
     * @param string $key The app's key.
     * @param string $secret The app's secret. It never leaves this process.
     * @param array{
     *     transport?: 'auto'|'ring'|'socket',
     *     ring_bytes?: int,
     *     publish_timeout_ms?: int,
     *     connect_timeout_ms?: int,
     *     ask_timeout_ms?: int,
     *     exit_timeout_ms?: int
     * } $options transport: auto takes the ring and falls back to the socket (auto). ring_bytes: what may wait for
     *     the server, a power of two (1048576). publish_timeout_ms: how long a broadcast waits for room (250).
     *     connect_timeout_ms: how long attaching may take (500). ask_timeout_ms: how long an answer may take (1000).
     *     exit_timeout_ms: how long the end of the process waits until everything is read (1000).
     *
     * @throws \ValueError What is wrong with the arguments.
     */
    public function __construct(string $socket, string $key, #[\SensitiveParameter] string $secret, array $options = []) {}

    /**
     * Hands one publication to the server. When it returns, the publication is in memory that survives the server:
     * if the server dies now, its successor delivers it.
     *
     * @param list<string>|string $channels 1 to 100 channel names.
     * @param string $event The event's name, 1 to 200 bytes of UTF-8.
     * @param string $data What clients receive, untouched: UTF-8, usually JSON.
     * @param string|null $except The socket id of the one client that does not receive it.
     *
     * @throws Unavailable No server can be reached. Trying again later may help.
     * @throws Full The server did not make room within publish_timeout_ms.
     * @throws TooLarge This publication is larger than the server or the ring takes.
     * @throws Rejected The server refuses this process: credentials, user or version.
     * @throws \ValueError What is wrong with the arguments.
     */
    public function broadcast(array|string $channels, string $event, string $data, ?string $except = null): void {}

    /**
     * Asks the server what goes on in this app, or has it do something: the requests of Pusher's HTTP API, without
     * HTTP and without a signature, over a connection of its own.
     *
     * @param string $method GET or POST.
     * @param string $path What stands behind `/apps/{id}` there, such as `/channels/presence-room/users`.
     * @param string|null $body JSON, where the request has a body.
     *
     * @return array{0: int, 1: string} The status that HTTP would have, and JSON.
     *
     * @throws Unavailable No server can be reached; nothing was asked.
     * @throws Unanswered It was asked, but did not answer within ask_timeout_ms, or ended before it did.
     * @throws TooLarge The question is larger than a message may be.
     * @throws Rejected The server refuses this process: credentials, user or version.
     * @throws \ValueError What is wrong with the arguments.
     */
    public function ask(string $method, string $path, ?string $body = null): array {}

    /**
     * How this process reaches the server at the moment.
     *
     * @return 'none'|'ring'|'socket' none: not attached, since nothing was broadcast yet or the server has gone.
     */
    public function transport(): string {}
}

/** What `broadcast()` and `ask()` say no with. */
class Exception extends \RuntimeException {}

/** Nobody is there to take it; the publication was not accepted. */
class Unavailable extends Exception {}

/** A question was sent and not answered: whether it was carried out is not known. */
class Unanswered extends Exception {}

/** The server is there but does not read; the publication was not accepted. */
class Full extends Exception {}

/** The publication will never fit. */
class TooLarge extends Exception {}

/** The server does not want this process. Somebody has to change something. */
class Rejected extends Exception {}
