<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Config\ServerConfig;

/**
 * Who answers at the configured port, where the Unix socket does not say: a Fanfare server tells everybody that it is up.
 */
final readonly class PortAnswer
{
    private const float TIMEOUT_S = 2;

    private const string UP = '{"health":"OK"}';

    /**
     * @param  string  $url  of the server itself, without anything in front
     */
    private function __construct(public string $url) {}

    /**
     * Null when no Fanfare server answers there.
     */
    public static function of(ServerConfig $server): ?self
    {
        // Listening on all addresses, it is reached at this one.
        $address = self::reachable($server->listen());
        // Whose certificate it is does not matter here: nothing is told to it.
        $context = stream_context_create([
            'http' => ['timeout' => self::TIMEOUT_S, 'ignore_errors' => true, 'follow_location' => 0],
            'ssl' => ['verify_peer' => false, 'verify_peer_name' => false],
        ]);
        $scheme = $server->tls === null ? 'http' : 'https';
        $body = $server->port === 0 ? false : @file_get_contents("{$scheme}://{$address}{$server->path}/up", false, $context, 0, 64);

        return $body === self::UP ? new self("{$scheme}://{$address}{$server->path}") : null;
    }

    public static function reachable(string $address): string
    {
        return strtr($address, ['0.0.0.0:' => '127.0.0.1:', '[::]:' => '[::1]:']);
    }
}
