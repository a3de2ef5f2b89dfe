<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * A process that listens where a server's HTTP API would be, checks signatures, and answers as it is told: for
 * what a real server does only by accident, such as falling silent.
 */
final readonly class PretendApi
{
    private RunningCommand $process;

    /** What it listens at: HOST:PORT, or the socket's path. */
    public string $at;

    /**
     * @param  string|null  $socket  path of a Unix socket; null: a free port of this machine
     * @param  array<string, string>  $secrets  by the keys of apps
     */
    public function __construct(?string $socket = null, array $secrets = [ChatApplication::KEY => ChatApplication::SECRET])
    {
        $this->process = new RunningCommand([
            PHP_BINARY,
            '-n',
            __DIR__.'/fixtures/pretend-api.php',
            $socket === null ? 'tcp://127.0.0.1:0' : "unix://{$socket}",
            json_encode($secrets, JSON_THROW_ON_ERROR),
        ]);

        $this->at = (string) self::decoded($this->process->line('"listening"'))['listening'];
    }

    public function url(): string
    {
        return "http://{$this->at}";
    }

    /**
     * What the next request is answered; after the last one told, each request is answered like that one.
     *
     * @param  array<string, mixed>|string  $body
     */
    public function willAnswer(array|string $body, int $status = 200, bool $close = false, bool $hang = false): self
    {
        $body = is_array($body) ? json_encode((object) $body, JSON_THROW_ON_ERROR) : $body;
        $this->process->write(json_encode(compact('status', 'body', 'close', 'hang'), JSON_THROW_ON_ERROR)."\n");
        $this->process->line('"told"');

        return $this;
    }

    /**
     * Waits for the next request.
     *
     * @return array{connection: int, signed: bool, method: string, path: string, query: array<string, string>, headers: array<string, string>, body: mixed}
     */
    public function request(): array
    {
        $request = self::decoded($this->process->line('"connection"'));

        if (! $request['signed']) {
            throw new RuntimeException("expected a signed request, found\n".print_r($request, true));
        }

        parse_str($request['query'], $query);

        return ['query' => $query, 'body' => json_decode($request['body'], true)] + $request;
    }

    /**
     * How many requests there were in all.
     */
    public function end(): int
    {
        $this->process->closeInput()->exitCode();

        return substr_count($this->process->transcript, '"connection"');
    }

    /**
     * @return array<string, mixed>
     */
    private static function decoded(string $line): array
    {
        return json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    }
}
