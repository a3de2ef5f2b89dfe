<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * What Reverb's variables mean to Fanfare. config/fanfare.php reads them where no variable of
 * Fanfare's own is set; docs/migrate-from-reverb.md shows this list.
 */
final readonly class ReverbVariables
{
    /**
     * By name: the key in config/fanfare.php that it sets, or null when it is not used; the variable
     * that wins over it, if there is one; and what becomes of it.
     */
    private const array KNOWN = [
        'REVERB_APP_ID' => ['apps.0.id', 'FANFARE_APP_ID', 'the app\'s id'],
        'REVERB_APP_KEY' => ['apps.0.key', 'FANFARE_APP_KEY', 'the app\'s public key'],
        'REVERB_APP_SECRET' => ['apps.0.secret', 'FANFARE_APP_SECRET', 'the app\'s secret'],
        'REVERB_SERVER_HOST' => ['server.host', 'FANFARE_HOST', 'the address that the server listens on'],
        'REVERB_SERVER_PORT' => ['server.port', 'FANFARE_PORT', 'the port that the server listens on'],
        'REVERB_SERVER_PATH' => ['server.path', 'FANFARE_PATH', 'what comes before /app/{key} in URLs'],
        'REVERB_HOST' => ['url', 'FANFARE_URL', 'the host of the public URL, which fanfare:doctor tries'],
        'REVERB_PORT' => ['url', 'FANFARE_URL', 'the port of the public URL'],
        'REVERB_SCHEME' => ['url', 'FANFARE_URL', 'the scheme of the public URL'],
        'REVERB_APP_ACTIVITY_TIMEOUT' => ['server.limits.activity_timeout_s', null, 'how long a client hears nothing before it pings'],
        'REVERB_APP_PING_INTERVAL' => ['server.limits.pong_timeout_s', null, 'how long a client that does not answer a ping is kept'],
        'REVERB_APP_MAX_CONNECTIONS' => ['server.limits.app_connections_max', null, 'connections of the app'],
        'REVERB_APP_MAX_MESSAGE_SIZE' => ['server.limits.message_bytes_max', null, 'bytes of one message from a client'],
        'REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM' => [
            'apps.0.client_events',
            'FANFARE_APP_CLIENT_EVENTS',
            '"none" switches client events off; Fanfare takes them from members of the channel only',
        ],
        'REVERB_SERVER' => [null, null, 'not used: there is one server'],
        'REVERB_MAX_REQUEST_SIZE' => [null, null, 'not used: PHP publishes through memory, and the HTTP API has limits of its own'],
        'REVERB_SCALING_ENABLED' => [null, null, 'not used: install with --from-reverb --redis'],
        'REVERB_SCALING_CHANNEL' => [null, null, 'not used: see FANFARE_REDIS_PREFIX'],
        'REVERB_APP_RATE_LIMITING_ENABLED' => [null, null, 'not used: client events have limits of their own (docs/configuration.md)'],
        'REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS' => [null, null, 'not used, as above'],
        'REVERB_APP_RATE_LIMIT_DECAY_SECONDS' => [null, null, 'not used, as above'],
        'REVERB_APP_RATE_LIMIT_TERMINATE' => [null, null, 'not used, as above'],
        'REVERB_PULSE_INGEST_INTERVAL' => [null, null, 'not used: fanfare:status and /metrics have the numbers'],
        'REVERB_TELESCOPE_INGEST_INTERVAL' => [null, null, 'not used: fanfare:tail shows publications'],
    ];

    /**
     * @return array<string, array{string|null, string|null, string}>
     */
    public static function known(): array
    {
        return self::KNOWN;
    }

    /**
     * What is said about a variable that was found.
     */
    public static function words(string $name): string
    {
        return self::KNOWN[$name][2] ?? 'not known to Fanfare, and not used';
    }
}
