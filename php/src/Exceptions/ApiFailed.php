<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use Throwable;

/**
 * A request to a server's HTTP API was not answered with what was asked for.
 */
interface ApiFailed extends Throwable {}
