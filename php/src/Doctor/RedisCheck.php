<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\RedisConfig;
use Fanfare\Laravel\Exceptions\RedisUnusable;
use Fanfare\Laravel\Server\ServerStatus;

/**
 * The Redis over which several servers hear each other: what the running server says of it, and what is found when it is
 * asked from here, by the same address and as the same user.
 */
final readonly class RedisCheck implements Check
{
    /** What Redis comes with (client-output-buffer-limit pubsub): the most at once, and for a minute. */
    private const int OUTPUT_BYTES_MIN = 33_554_432;

    private const int OUTPUT_SOFT_BYTES_MIN = 8_388_608;

    public function __construct(private float $timeoutS = 3.0) {}

    public function title(): string
    {
        return 'Redis';
    }

    public function findings(Subject $subject): iterable
    {
        $server = $subject->server();

        if ($server === null) {
            yield Finding::note('Not looked at: the configuration has mistakes.');

            return;
        }

        $redis = $server->redis;
        $running = $subject->running();

        if ($redis === null) {
            yield $running !== null && $running->hasOthers()
                ? Finding::warning(
                    'The running server hears others over a Redis, but this configuration names none: after a restart it is alone.',
                    'Set FANFARE_REDIS_CONNECTION or FANFARE_REDIS_URL as it was, or `php artisan fanfare:restart`.',
                )
                : Finding::note('None is configured: this is one server alone.', 'Several servers share a Redis: docs/scaling.md.');

            return;
        }

        yield Finding::good(self::named($redis));

        if ($running !== null) {
            yield self::standing($running);
        }

        try {
            yield from $this->looks($redis);
        } catch (RedisUnusable $e) {
            yield Finding::error($e->getMessage(), $e->remedy);
        }
    }

    private static function named(RedisConfig $redis): string
    {
        // Without what stands before an @, which may be a password.
        $places = implode(', ', array_map(static fn (string $url): string => (string) preg_replace('~//.*@~', '//', $url), $redis->urls));
        $kind = match (true) {
            $redis->cluster => 'a cluster',
            $redis->sentinel !== [] => "the primary {$redis->sentinel['master']} of Sentinels",
            default => 'one server',
        };

        return (
            ($redis->connection === null ? 'Configured by redis.url' : "The connection \"{$redis->connection}\" of database.redis")
            .": {$places} ({$kind}); names begin with {$redis->prefix()}"
        );
    }

    private static function standing(ServerStatus $running): Finding
    {
        if (! $running->hasOthers()) {
            return Finding::error('The running server was started without it: it is alone.', '`php artisan fanfare:restart`.');
        }

        $reason = $running->degraded();

        return match (true) {
            $reason !== null => Finding::error(
                "The running server does without it: {$reason}.",
                'What is found from here is below. It tries again by itself; nothing has to be restarted unless the configuration is changed.',
            ),
            $running->metric('fleet_nodes') === 0 => Finding::note('The running server is connected; it does not know yet how many are in the fleet.'),
            default => Finding::good('The running server is connected, '.$running->metric('fleet_nodes').' in the fleet.'),
        };
    }

    /**
     * @return iterable<Finding>
     *
     * @throws RedisUnusable
     */
    private function looks(RedisConfig $redis): iterable
    {
        $began = hrtime(true);
        $primary = $this->primary($redis);
        $ms = number_format((hrtime(true) - $began) / 1e6, 1);
        [$kind, $version] = [ucfirst(self::text($primary->hello['server'] ?? 'redis')), self::text($primary->hello['version'] ?? '')];

        if ($redis->cluster && $kind === 'Redis' && version_compare($version, '7', '<')) {
            yield Finding::error(
                "{$kind} {$version} at {$primary->place} has no sharded pub/sub, which servers need in a cluster.",
                'Install Redis 7 or later, or Valkey; or use a single server of Redis, or Sentinels.',
            );
        } else {
            yield Finding::good("{$kind} {$version} at {$primary->place} answers here, in {$ms} ms.");
        }

        yield from $this->rights($redis, $primary);
        yield from self::memory($primary);
        yield from self::output($primary);
    }

    /**
     * Where a server of Fanfare would go.
     *
     * @throws RedisUnusable
     */
    private function primary(RedisConfig $redis): RedisConversation
    {
        $expected = $redis->sentinel !== [] ? 'sentinel' : ($redis->cluster ? 'cluster' : 'standalone');
        $first = $redis->sentinel !== []
            ? RedisConversation::open(
                $redis->urls[0],
                $redis->sentinel['username'] ?? null,
                $redis->sentinel['password'] ?? null,
                $redis->texts['ca_file'] ?? null,
                $this->timeoutS,
            )
            : $this->open($redis, $redis->urls[0]);
        $mode = self::text($first->hello['mode'] ?? '');

        if ($mode !== $expected) {
            throw new RedisUnusable("Expected a {$expected} server at {$first->place}, found a {$mode} one.", match (true) {
                $mode === 'cluster' => 'Set FANFARE_REDIS_CLUSTER=true, or name it under database.redis.clusters.',
                $mode === 'sentinel' => 'Set FANFARE_REDIS_SENTINEL to the name of the primary.',
                $expected === 'cluster' => 'Leave FANFARE_REDIS_CLUSTER out, or name a connection that is not under database.redis.clusters.',
                default => 'Leave FANFARE_REDIS_SENTINEL out, or name the Sentinels in FANFARE_REDIS_URL.',
            });
        }

        if ($redis->sentinel !== []) {
            $address = $first->ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', $redis->sentinel['master']);

            if (! is_array($address)) {
                throw new RedisUnusable(
                    "The Sentinel at {$first->place} does not know a primary named {$redis->sentinel['master']}.",
                    'Correct FANFARE_REDIS_SENTINEL.',
                );
            }

            $host = self::text($address[0] ?? '');
            $scheme = explode(':', $redis->urls[0], 2)[0];
            $first = $this->open($redis, "{$scheme}://".(str_contains($host, ':') ? "[{$host}]" : $host).':'.self::text($address[1] ?? ''));
        }

        if (! $redis->cluster && ($first->hello['role'] ?? 'master') !== 'master') {
            throw new RedisUnusable("Expected a primary at {$first->place}, found a replica.", 'Name the primary, or the Sentinels (FANFARE_REDIS_SENTINEL).');
        }

        return $first;
    }

    /**
     * @throws RedisUnusable
     */
    private function open(RedisConfig $redis, string $url): RedisConversation
    {
        $password = $redis->texts['password'] ?? null;

        if (isset($redis->texts['password_file'])) {
            $line = @file($redis->texts['password_file'], FILE_IGNORE_NEW_LINES)[0] ?? '';
            $password = $line !== ''
                ? $line
                : throw new RedisUnusable(
                    "The file {$redis->texts['password_file']} cannot be read by this user, or its first line is empty.",
                    'Run this as the user of the server, or let that user read it.',
                );
        }

        return RedisConversation::open($url, $redis->texts['username'] ?? null, $password, $redis->texts['ca_file'] ?? null, $this->timeoutS);
    }

    /**
     * @return iterable<Finding>
     *
     * @throws RedisUnusable
     */
    private function rights(RedisConfig $redis, RedisConversation $primary): iterable
    {
        $rights = RedisRights::of($primary, $redis->prefix(), $redis->cluster);
        $user = $redis->texts['username'] ?? 'default';

        if ($rights->areEnough()) {
            yield Finding::good("It lets the user {$user} do all that is needed.");

            return;
        }

        $lacking = $rights->lacking($redis->prefix());
        $remedy = "`ACL SETUSER {$user} {$lacking}`, also where Redis keeps its users (aclfile, or its provider's console). docs/configuration.md#redis has the whole list.";

        yield match (true) {
            $rights->arePassable() => Finding::warning(
                "The user {$user} lacks {$lacking}: after Redis was away, servers wait for each other longer than they need to.",
                $remedy,
            ),
            $rights->passEvents($redis->cluster) => Finding::error(
                "The user {$user} lacks {$lacking}: events pass, but members and numbers are those of each server alone.",
                $remedy,
            ),
            default => Finding::error("The user {$user} lacks {$lacking}: servers do not hear each other.", $remedy),
        };
    }

    /**
     * @return iterable<Finding>
     *
     * @throws RedisUnusable
     */
    private static function memory(RedisConversation $primary): iterable
    {
        $memory = $primary->ask('INFO', 'memory');

        if (! is_string($memory)) {
            yield Finding::note(
                'What Redis does when its memory is full is not seen: this user may not ask (INFO).',
                'As another user: `redis-cli CONFIG GET maxmemory*`. A policy that begins with "allkeys" may evict what servers know together.',
            );

            return;
        }

        $field = static fn (string $name): string => preg_match("/^{$name}:(.*?)\r?$/m", $memory, $matches) === 1 ? $matches[1] : '';

        // The keys of the fleet have no time to live: other policies leave them alone.
        if ((int) $field('maxmemory') > 0 && str_starts_with($field('maxmemory_policy'), 'allkeys')) {
            yield Finding::warning(
                'When its memory is full ('
                .number_format((int) $field('maxmemory') / 1_048_576)
                .' MiB), Redis evicts any key ('
                .$field('maxmemory_policy')
                .'), also those of the fleet: members and numbers would be wrong until servers write them again.',
                'Use a policy that begins with "volatile", or a Redis of its own for Fanfare.',
            );
        }
    }

    /**
     * @return iterable<Finding>
     *
     * @throws RedisUnusable
     */
    private static function output(RedisConversation $primary): iterable
    {
        $answer = $primary->ask('CONFIG', 'GET', 'client-output-buffer-limit');
        $text = is_array($answer) && is_string($answer[1] ?? null) ? $answer[1] : '';

        if (preg_match('/pubsub (\d+) (\d+) (\d+)/', $text, $matches) !== 1) {
            yield Finding::note(
                'How much may wait for a server that is slow is not seen: this user may not ask (CONFIG GET).',
                'As another user: `redis-cli CONFIG GET client-output-buffer-limit`. For pubsub, Redis comes with 33554432 8388608 60.',
            );

            return;
        }

        [$hard, $soft] = [(int) $matches[1], (int) $matches[2]];

        if ($hard > 0 && $hard < self::OUTPUT_BYTES_MIN || $soft > 0 && $soft < self::OUTPUT_SOFT_BYTES_MIN) {
            yield Finding::warning(
                "Redis ends the connection of a server for which more than {$hard} bytes wait, or {$soft} for {$matches[3]} s (client-output-buffer-limit pubsub): a burst of events could be missed.",
                '`CONFIG SET client-output-buffer-limit "pubsub 33554432 8388608 60"`, which is what Redis comes with, or more.',
            );
        }
    }

    private static function text(mixed $value): string
    {
        return is_scalar($value) ? (string) $value : '';
    }
}
