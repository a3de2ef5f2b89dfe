<?php

declare(strict_types=1);

use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Notifications\Notifiable;

/** A user of the application. */
final class Person extends GenericUser
{
    use Notifiable;

    public function receivesBroadcastNotificationsOn(): string
    {
        return "App.Models.User.{$this->getAuthIdentifier()}";
    }
}

/** Its users: 1 is Ada, 2 is Grace. They are logged in by id. */
final class People implements UserProvider
{
    private const array NAMES = [1 => 'Ada', 2 => 'Grace'];

    public function retrieveById($identifier): ?Person
    {
        $name = self::NAMES[(int) $identifier] ?? null;

        return $name === null ? null : new Person(['id' => (int) $identifier, 'name' => $name]);
    }

    public function retrieveByToken($identifier, $token): ?Person
    {
        return null;
    }

    public function updateRememberToken(Authenticatable $user, $token): void {}

    public function retrieveByCredentials(array $credentials): ?Person
    {
        return null;
    }

    public function validateCredentials(Authenticatable $user, array $credentials): bool
    {
        return false;
    }

    public function rehashPasswordIfRequired(Authenticatable $user, array $credentials, bool $force = false): void {}
}
