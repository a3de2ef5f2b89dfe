<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * The ways to a server's HTTP API, by their names in `fanfare.publish.fallback`.
 */
enum ApiWay: string
{
    /** The Unix socket of this host, `fanfare.socket`. */
    case Unix = 'unix';

    /** A server on another host, `fanfare.publish.url`. */
    case Url = 'url';
}
