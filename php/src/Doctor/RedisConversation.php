<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Exceptions\RedisUnusable;

/**
 * A conversation with one server of Redis, signed in as the server would sign in. It is had over a plain stream (RESP2):
 * Fanfare needs neither phpredis nor Predis, and what either is configured with beside is not what the server does.
 */
final class RedisConversation
{
    private const string PLAIN = 'If it speaks TLS there: write rediss:// instead of redis:// (of a connection of Laravel\'s: \'scheme\' => \'tls\').';

    private const string TLS = 'The port does not speak TLS: write redis:// instead of rediss:// (of a connection of Laravel\'s: no \'scheme\' => \'tls\'), or the port that does.';

    private const string TRUSTED = 'Name the authority that issued it in FANFARE_REDIS_CA_FILE.';

    private const string PASSWORD = 'Correct it: FANFARE_REDIS_USERNAME and FANFARE_REDIS_PASSWORD, or username and password of the connection in config/database.php.';

    /** @var array<array-key, mixed> what HELLO answers, by name */
    public readonly array $hello;

    /**
     * @param  resource  $stream
     * @param  string  $place  where, without a password
     *
     * @throws RedisUnusable
     */
    private function __construct(private $stream, public readonly string $place, ?string $username, ?string $password)
    {
        $answer = $this->ask('HELLO', '2', ...$password === null ? [] : ['AUTH', $username ?? 'default', $password]);
        $this->hello = match (true) {
            $answer instanceof RedisRefusal => throw $this->refused($answer, $username),
            is_array($answer) => array_column(array_chunk($answer, 2), 1, 0),
            default => [],
        };
    }

    /**
     * @param  string  $url  as redis.url has it
     *
     * @throws RedisUnusable
     */
    public static function open(string $url, ?string $username, ?string $password, ?string $caFile, float $timeoutS): self
    {
        $isTls = preg_match('~\A(rediss|valkeys)://~', $url) === 1;

        if (preg_match('~\A(?:redis\+|valkey\+)?unix:(?://)?(/[^?]*)~', $url, $matches) === 1) {
            [$address, $host, $place] = ["unix://{$matches[1]}", '', $matches[1]];
        } else {
            $parts = (array) parse_url($url);
            $host = trim((string) ($parts['host'] ?? ''), '[]');
            $bracketed = str_contains($host, ':') ? "[{$host}]" : $host;
            $place = "{$bracketed}:".($parts['port'] ?? 6379);
            $address = ($isTls ? 'tls' : 'tcp')."://{$place}";

            if (isset($parts['pass'])) {
                $user = $parts['user'] ?? '';
                $username = $user === '' ? null : rawurldecode($user);
                $password = rawurldecode($parts['pass']);
            }
        }

        $ssl = $caFile === null ? [] : ['cafile' => $caFile];
        error_clear_last();
        $stream = @stream_socket_client($address, $code, $error, $timeoutS, STREAM_CLIENT_CONNECT, stream_context_create([
            'ssl' => $ssl + ['peer_name' => $host],
        ]));

        if ($stream === false) {
            throw self::unreachable($address, $host, $place, (int) $code, (string) $error, $timeoutS, $ssl);
        }

        stream_set_timeout($stream, (int) $timeoutS, (int) (fmod($timeoutS, 1) * 1e6));

        return new self($stream, $place, $username, $password);
    }

    /**
     * @return RedisRefusal|string|int|list<mixed>|null
     *
     * @throws RedisUnusable when there is no answer
     */
    public function ask(string ...$words): RedisRefusal|string|int|array|null
    {
        @fwrite($this->stream, '*'.count($words)."\r\n".implode(array_map(static fn (string $word): string => '$'.strlen($word)."\r\n{$word}\r\n", $words)));

        return $this->answer();
    }

    /**
     * One answer more: a command about nothing at all may have several.
     *
     * @return RedisRefusal|string|int|list<mixed>|null
     *
     * @throws RedisUnusable
     */
    private function answer(): RedisRefusal|string|int|array|null
    {
        $line = (string) @fgets($this->stream);
        $rest = rtrim(substr($line, 1), "\r\n");

        return match ($line[0] ?? '') {
            '+' => $rest,
            '-' => new RedisRefusal($rest),
            ':' => (int) $rest,
            '$' => (int) $rest < 0 ? null : $this->bytes((int) $rest),
            '*' => (int) $rest < 0
                ? null
                : array_map(fn (): RedisRefusal|string|int|array|null => $this->answer(), (int) $rest === 0 ? [] : range(1, (int) $rest)),
            default => throw new RedisUnusable(
                "Expected an answer of Redis at {$this->place}, found "
                .(
                    $line !== ''
                        ? 'something else'
                        : (stream_get_meta_data($this->stream)['timed_out'] ? 'none in time' : 'that it ended the connection without one')
                )
                .'.',
                self::PLAIN.' Otherwise see its log.',
            ),
        };
    }

    private function bytes(int $count): string
    {
        return substr((string) stream_get_contents($this->stream, $count + 2), 0, $count);
    }

    private function refused(RedisRefusal $refusal, ?string $username): RedisUnusable
    {
        $user = $username ?? 'default';

        return match (true) {
            $refusal->code() === 'WRONGPASS' => new RedisUnusable("Redis at {$this->place} refuses the password of the user {$user}.", self::PASSWORD),
            $refusal->code() === 'NOAUTH' => new RedisUnusable("Redis at {$this->place} asks for a password, and none is configured.", self::PASSWORD),
            str_starts_with($refusal->words, 'ERR unknown command') => new RedisUnusable(
                "Redis at {$this->place} is older than 6: it does not know HELLO.",
                'Install Redis 6 or later, or Valkey.',
            ),
            default => new RedisUnusable(
                "Redis at {$this->place} does not let this application in: {$refusal->words}",
                'Have it let this host in, as it says.',
            ),
        };
    }

    /**
     * @param  array<string, string>  $ssl
     */
    private static function unreachable(string $address, string $host, string $place, int $code, string $error, float $timeoutS, array $ssl): RedisUnusable
    {
        $reason = (string) preg_replace('/\s+/', ' ', $error !== '' ? $error : error_get_last()['message'] ?? 'no answer');

        if (str_contains($reason, 'getaddrinfo')) {
            return new RedisUnusable("Redis cannot be reached: the name {$host} is not known here.", 'Correct the host, or DNS.');
        }

        if (! str_starts_with($address, 'tls:') || $code !== 0) {
            return new RedisUnusable(
                "Redis at {$place} cannot be reached: {$reason}.",
                'See whether it runs and listens there (its own `bind`, and firewalls), and correct host and port.',
            );
        }

        $fault = TlsFault::of($address, $host, $reason, $timeoutS, $ssl);

        return new RedisUnusable("Redis at {$place}: ".rtrim($fault->fault, '.').'.', $fault->remedy === TlsFault::NO_TLS ? self::TLS : self::TRUSTED);
    }
}
