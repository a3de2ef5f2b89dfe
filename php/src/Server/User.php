<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

/**
 * A user of the operating system, for messages and comparisons. Without ext-posix only ids are known.
 */
final readonly class User
{
    public function __construct(public int $id) {}

    public static function current(): self
    {
        return new self(function_exists('posix_geteuid') ? posix_geteuid() : (int) getmyuid());
    }

    public static function named(string $name): ?self
    {
        if (ctype_digit($name)) {
            return new self((int) $name);
        }

        $found = function_exists('posix_getpwnam') ? posix_getpwnam($name) : false;

        return $found === false ? null : new self($found['uid']);
    }

    public function name(): ?string
    {
        $found = function_exists('posix_getpwuid') ? posix_getpwuid($this->id) : false;

        return $found === false ? null : $found['name'];
    }

    /**
     * The name of its own group.
     */
    public function group(): ?string
    {
        $user = function_exists('posix_getpwuid') ? posix_getpwuid($this->id) : false;
        $group = $user !== false && function_exists('posix_getgrgid') ? posix_getgrgid($user['gid']) : false;

        return is_array($group) && is_string($group['name'] ?? null) ? $group['name'] : null;
    }

    public function describe(): string
    {
        $name = $this->name();

        return $name === null ? "the user {$this->id}" : "the user {$name} ({$this->id})";
    }

    /**
     * Whether this user may do to a file what the bits of one octal digit say, as the kernel would judge.
     */
    public function may(int $bits, string $path): bool
    {
        $stat = @stat($path);

        if ($stat === false) {
            return false;
        }

        if ($this->id === 0) {
            return true;
        }

        $shift = match (true) {
            $stat['uid'] === $this->id => 6,
            in_array($stat['gid'], $this->groups(), true) => 3,
            default => 0,
        };

        return (($stat['mode'] >> $shift) & $bits) === $bits;
    }

    /**
     * @return list<int>
     */
    private function groups(): array
    {
        if ($this->id === self::current()->id && function_exists('posix_getgroups')) {
            return [...(posix_getgroups() ?: []), posix_getegid()];
        }

        $user = function_exists('posix_getpwuid') ? posix_getpwuid($this->id) : false;

        if ($user === false) {
            return [];
        }

        $groups = [$user['gid']];

        foreach (@file('/etc/group', FILE_IGNORE_NEW_LINES) ?: [] as $line) {
            $fields = explode(':', $line);

            if (count($fields) === 4 && in_array($user['name'], explode(',', $fields[3]), true)) {
                $groups[] = (int) $fields[2];
            }
        }

        return $groups;
    }
}
