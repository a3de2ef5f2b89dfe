<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * What a server of Fanfare needs of Redis, tried out: each command as a user may or may not use it, on a channel and on
 * keys of the doctor's own, of which nothing stays. docs/configuration.md has the same list.
 */
final readonly class RedisRights
{
    /** Without these, nobody is heard. */
    private const array MESSAGES = ['publish', 'subscribe', 'unsubscribe', 'ping', 'hello'];

    private const array SHARDED = ['spublish', 'ssubscribe', 'sunsubscribe', 'cluster|slots', 'ping', 'hello'];

    /**
     * Those that are tried, by the name that the ACL has: the words, with {c} for a channel and {k} for a key. Where a
     * command can be had to refuse its arguments, it is: who may use it is judged before that. What writes comes after what
     * removes.
     */
    private const array TRIED = [
        'ping' => ['PING'],
        'hello' => ['HELLO', '2'],
        'publish' => ['PUBLISH', '{c}', ''],
        'subscribe' => ['SUBSCRIBE', '{c}'],
        'unsubscribe' => ['UNSUBSCRIBE', '{c}'],
        'pubsub|numsub' => ['PUBSUB', 'NUMSUB', '{c}'],
        'spublish' => ['SPUBLISH', '{c}', ''],
        'ssubscribe' => ['SSUBSCRIBE', '{c}'],
        'sunsubscribe' => ['SUNSUBSCRIBE', '{c}'],
        'cluster|slots' => ['CLUSTER', 'SLOTS'],
        'time' => ['TIME'],
        'script|load' => ['SCRIPT', 'LOAD', 'return 1'],
        'evalsha' => ['EVALSHA', 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db', '1', '{k}'],
        'hget' => ['HGET', '{k}', 'f'],
        'hkeys' => ['HKEYS', '{k}'],
        'hlen' => ['HLEN', '{k}'],
        'hgetall' => ['HGETALL', '{k}'],
        'hset' => ['HSET', '{k}', 'f', 'v', 'without a value'],
        'hincrby' => ['HINCRBY', '{k}', 'f', 'no number'],
        'zadd' => ['ZADD', '{k}', 'no number', 'm'],
        'zscore' => ['ZSCORE', '{k}', 'm'],
        'zrangebyscore' => ['ZRANGEBYSCORE', '{k}', '0', '1'],
        'zcount' => ['ZCOUNT', '{k}', '0', '1'],
        'zrem' => ['ZREM', '{k}', 'm'],
        'smembers' => ['SMEMBERS', '{k}'],
        'set' => ['SET', '{k}', 'v', 'no option'],
        'hdel' => ['HDEL', '{k}', 'f'],
        'srem' => ['SREM', '{k}', 'm'],
        'del' => ['DEL', '{k}'],
        'hsetnx' => ['HSETNX', '{k}', 'f', 'v'],
        'sadd' => ['SADD', '{k}:set', 'm'],
    ];

    /**
     * @param  list<string>  $commands  that the user may not use
     */
    private function __construct(public array $commands, public bool $channels, public bool $keys) {}

    public static function of(RedisConversation $redis, string $prefix, bool $isCluster): self
    {
        $own = $prefix.'doctor:'.bin2hex(random_bytes(8));
        $refused = [];
        [$channels, $keys] = [true, true];

        foreach (self::TRIED as $name => $words) {
            if (in_array($name, $isCluster ? self::MESSAGES : self::SHARDED, true) && ! in_array($name, $isCluster ? self::SHARDED : self::MESSAGES, true)) {
                continue;
            }

            // What could not be removed again is not written.
            if ($isCluster && $name === 'pubsub|numsub' || in_array($name, ['hsetnx', 'sadd'], true) && in_array('del', $refused, true)) {
                continue;
            }

            $answer = $redis->ask(...str_replace(['{c}', '{k}'], $own, $words));

            if (! $answer instanceof RedisRefusal || $answer->code() !== 'NOPERM') {
                continue;
            }

            match (true) {
                preg_match("/ to run the '[^']+' command/", $answer->words) === 1 => $refused[] = $name,
                str_contains($answer->words, 'channel') => $channels = false,
                default => $keys = false,
            };
        }

        $redis->ask('DEL', $own);
        $redis->ask('DEL', "{$own}:set");

        return new self($refused, $channels, $keys);
    }

    public function areEnough(): bool
    {
        return $this->commands === [] && $this->channels && $this->keys;
    }

    /**
     * Whether only the numbers of servers are lacking, without which they do well.
     */
    public function arePassable(): bool
    {
        return array_diff($this->commands, ['pubsub|numsub']) === [] && $this->channels && $this->keys;
    }

    /**
     * Whether other servers are heard all the same.
     */
    public function passEvents(bool $isCluster): bool
    {
        return $this->channels && array_intersect($this->commands, $isCluster ? self::SHARDED : self::MESSAGES) === [];
    }

    /**
     * What is lacking, as ACL SETUSER takes it.
     */
    public function lacking(string $prefix): string
    {
        return implode(' ', [
            ...($this->keys ? [] : ["~{$prefix}*"]),
            ...($this->channels ? [] : ["&{$prefix}*"]),
            ...array_map(static fn (string $command): string => "+{$command}", $this->commands),
        ]);
    }

    /**
     * @return list<string>  the names of all that are tried
     */
    public static function names(): array
    {
        return array_keys(self::TRIED);
    }
}
