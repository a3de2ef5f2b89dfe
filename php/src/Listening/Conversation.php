<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Listening;

use Fanfare\Laravel\Api\Answer;
use Fanfare\Laravel\Api\RequestSignature;
use Fanfare\Laravel\Config\AppCredentials;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use Fanfare\Laravel\Server\LocalRequest;

/**
 * A listener's connection to the server on this host. For as long as it is open, what it was given is given to nobody
 * else; what it was not done with when it ends is given to the next one.
 *
 * Leaves to the Worker what is done with what comes.
 */
final readonly class Conversation
{
    private const string PROTOCOL = 'fanfare-listen-1';

    private const int TIMEOUT_MS = 5_000;

    private function __construct(private LocalRequest $connection) {}

    /**
     * @throws ServerUnreachable
     */
    public static function begin(string $socket, AppCredentials $app): self
    {
        $path = "/apps/{$app->id}/listen";
        $query = (new RequestSignature($app))->sign('GET', $path, [], '', time());
        $target = $path.'?'.http_build_query($query, encoding_type: PHP_QUERY_RFC3986);

        return new self(LocalRequest::upgrade($socket, $target, self::PROTOCOL, self::TIMEOUT_MS));
    }

    /**
     * What the server says, until it ends the conversation or is gone. Null every quarter of a second in which it says
     * nothing.
     *
     * @return iterable<Answer|null>
     *
     * @throws UnexpectedAnswer
     */
    public function lines(): iterable
    {
        foreach ($this->connection->lines() as $line) {
            yield $line === null ? null : Answer::parse($line, 'fanfare:listen');
        }
    }

    /**
     * That a batch need not be given again.
     */
    public function done(Batch $batch): void
    {
        $this->connection->say(json_encode(['done' => $batch->id], JSON_THROW_ON_ERROR));
    }
}
