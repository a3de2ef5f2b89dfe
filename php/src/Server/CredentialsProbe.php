<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Api\Connections;
use Fanfare\Laravel\Api\HttpTransport;
use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\RequestRefused;
use RuntimeException;

/**
 * Whether the running server takes the id, key and secret that this application broadcasts with: it may have been
 * started before they were changed. Asked by a request that is signed with them and changes nothing.
 */
final readonly class CredentialsProbe
{
    public const string REMEDY = 'If .env was changed since the server was started: `php artisan fanfare:restart`. Otherwise it is the server of another application: set FANFARE_SOCKET to the socket of this one\'s, or FANFARE_APP_ID, FANFARE_APP_KEY and FANFARE_APP_SECRET to what that server has.';

    /**
     * The server's words against them. Null when it takes them, or when something else is wrong.
     *
     * @param  array<array-key, mixed>  $fanfare  config/fanfare.php
     * @param  array<array-key, mixed>  $connection  the broadcasting connection
     */
    public static function fault(array $fanfare, array $connection): ?string
    {
        try {
            (new HttpTransport(new ConnectionConfig(static fn (): array => $fanfare, $connection), ApiWay::Unix, new Connections))->request('GET', '/connections');
        } catch (RequestRefused $e) {
            return $e->status === 401 || $e->status === 404 ? $e->words : null;
        } catch (RuntimeException) {
            return null;
        }

        return null;
    }
}
