<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use UnexpectedValueException;

/**
 * The callback of Broadcast::resolveAuthenticatedUserUsing returned a user that nobody can be signed in as.
 */
final class UserWithoutId extends UnexpectedValueException
{
    public static function found(mixed $id): self
    {
        return new self(
            'expected the callback of Broadcast::resolveAuthenticatedUserUsing to return an array with an "id" that is text '
            .'(not empty) or a whole number, but found '
            .($id === '' ? 'an empty string' : get_debug_type($id))
            .' there',
        );
    }
}
