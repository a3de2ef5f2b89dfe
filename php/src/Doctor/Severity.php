<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * How much a finding matters.
 */
enum Severity: string
{
    /** As it should be. */
    case Good = 'good';

    /** Nothing is wrong, but it is worth knowing. */
    case Note = 'note';

    /** It works, but not as one would want. */
    case Warning = 'warning';

    /** It does not work. */
    case Error = 'error';
}
