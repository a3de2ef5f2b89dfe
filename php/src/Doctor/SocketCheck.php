<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Config\SocketPath;
use Fanfare\Laravel\Server\ServerLock;
use Fanfare\Laravel\Server\ServerStatus;
use Fanfare\Laravel\Server\User;

/**
 * The Unix socket: length, directory, permissions, and whether those who broadcast may use it.
 */
final readonly class SocketCheck implements Check
{
    public function title(): string
    {
        return 'Socket';
    }

    public function findings(Subject $subject): iterable
    {
        $server = $subject->server();

        if ($server === null) {
            yield Finding::note('Not looked at: the configuration has mistakes.');

            return;
        }

        $bytes = strlen($server->socket);
        $directory = dirname($server->socket);

        yield Finding::good("{$server->socket} has {$bytes} of at most ".SocketPath::BYTES_MAX.' bytes.');

        if (! is_dir($directory)) {
            yield Finding::error(
                "Its directory {$directory} does not exist.",
                "Create it, writable for the user of the server: `mkdir -p {$directory}`. Under systemd, RuntimeDirectory= makes one below /run.",
            );

            return;
        }

        $running = $subject->running();

        yield from $running === null ? $this->free($server) : $this->permissions($subject, $server, $running);
    }

    /**
     * @return iterable<Finding>
     */
    private function free(ServerConfig $server): iterable
    {
        $directory = dirname($server->socket);
        $user = User::current();

        if (file_exists($server->socket) && filetype($server->socket) !== 'socket') {
            yield Finding::error(
                "{$server->socket} is a ".filetype($server->socket).', where the server wants to make its socket.',
                'Move it away, or change FANFARE_SOCKET.',
            );
        }

        yield from $this->lock(new ServerLock($server->socket), $user);

        if (! is_writable($directory)) {
            yield Finding::warning(
                ucfirst($user->describe())." may not write to {$directory}: a server of this user could not make its socket.",
                'Start the server as a user that may, or choose another directory with FANFARE_SOCKET.',
            );
        }
    }

    /**
     * What the server of another user has left keeps this user's from starting.
     *
     * @return iterable<Finding>
     */
    private function lock(ServerLock $lock, User $user): iterable
    {
        $owner = $lock->owner();

        // With a server that runs, who may ask it is the question, not who could start another one.
        if ($owner !== null && $lock->holder() === null && ! (is_readable($lock->path) && is_writable($lock->path))) {
            yield Finding::error(
                "{$lock->path} belongs to {$owner->describe()}, and {$user->describe()} may not write to it: a server of this user could not start.",
                "If that user's server runs, stop it; then `rm {$lock->path}` as that user, and always start the server as the same one.",
            );
        }
    }

    /**
     * @return iterable<Finding>
     */
    private function permissions(Subject $subject, ServerConfig $server, ServerStatus $running): iterable
    {
        $owner = new User($running->uid);
        $mode = substr(sprintf('%o', (int) @fileperms($server->socket)), -4);
        $group = @filegroup($server->socket);
        $names = $group !== false && function_exists('posix_getgrgid') ? posix_getgrgid($group) : false;
        $group = $names === false ? (string) $group : $names['name'];

        yield Finding::good("The server runs as {$owner->describe()}; its socket has mode {$mode} and group {$group}.");

        $users = [];

        foreach ($subject->fpm() as $fpm) {
            foreach ($fpm->isOfThisPhp() ? $fpm->users() : [] as $name) {
                $users[$name] = User::named($name);
            }
        }

        foreach (array_filter($users) as $user) {
            yield from $this->user($user, $server, $running);
        }
    }

    /**
     * @return iterable<Finding>
     */
    private function user(User $user, ServerConfig $server, ServerStatus $running): iterable
    {
        $who = "{$user->describe()}, as which a pool of PHP-FPM runs,";
        $sound = true;

        if ($user->id !== 0 && $user->id !== $running->uid && ! in_array($user->id, $server->socketUids, true)) {
            $sound = false;
            yield Finding::error(
                "The server turns away {$user->describe()}, as which a pool of PHP-FPM runs.",
                "Set FANFARE_SOCKET_UIDS={$user->id} and restart the server, or run the server as that user.",
            );
        }

        for ($directory = dirname($server->socket);; $directory = dirname($directory)) {
            if (! $user->may(1, $directory)) {
                $sound = false;
                yield Finding::error(
                    ucfirst($who)." may not enter {$directory}.",
                    "Allow it (`chmod o+x {$directory}`, or a common group), or choose a directory such as /run/fanfare with FANFARE_SOCKET.",
                );
            }

            if ($directory === '/' || $directory === '.') {
                break;
            }
        }

        if (! $user->may(2, $server->socket)) {
            $sound = false;
            $directory = dirname($server->socket);
            yield Finding::error(
                ucfirst($who).' may not write to the socket, which connecting needs.',
                'Let the socket have a group of that user\'s: `chgrp '
                .($user->group() ?? 'GROUP')
                ." {$directory} && chmod g+s {$directory}`, with FANFARE_SOCKET_MODE=0660; then restart the server. Or set FANFARE_SOCKET_MODE=0666: the server checks the user as well.",
            );
        }

        if ($sound) {
            yield Finding::good(ucfirst($who).' may use it.');
        }
    }
}
