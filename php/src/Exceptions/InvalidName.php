<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use InvalidArgumentException;

/**
 * A channel or a user that there cannot be.
 */
final class InvalidName extends InvalidArgumentException
{
    private const string CHARACTERS = 'letters, digits and _ - = @ , . ;';

    public static function ofChannel(string $found): self
    {
        return new self('expected the name of a channel, 1 to 200 of '.self::CHARACTERS.', but found '.self::quoted($found));
    }

    public static function ofPresenceChannel(string $found): self
    {
        return new self('expected the name of a presence channel, "presence-…", since others have no members, but found '.self::quoted($found));
    }

    public static function ofUser(string $found): self
    {
        return new self('expected the id of a user, 1 to 184 of '.self::CHARACTERS.', but found '.self::quoted($found));
    }

    private static function quoted(string $found): string
    {
        return $found === '' ? 'an empty string' : UnexpectedAnswer::excerpt($found);
    }
}
