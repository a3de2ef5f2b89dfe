<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * What Reverb's variables mean to Fanfare. config/fanfare.php reads them where no variable of
 * Fanfare's own is set; docs/migrate-from-reverb.md shows this list.
 */
final readonly class ReverbVariables
{
    /** By name: the variable that would win over it, or null when it is not used, and what becomes of it. */
    private const array KNOWN = [
        'REVERB_APP_ID' => ['FANFARE_APP_ID', 'the app\'s id'],
        'REVERB_APP_KEY' => ['FANFARE_APP_KEY', 'the app\'s public key'],
        'REVERB_APP_SECRET' => ['FANFARE_APP_SECRET', 'the app\'s secret'],
        'REVERB_SERVER_HOST' => ['FANFARE_HOST', 'the address that the server listens on'],
        'REVERB_SERVER_PORT' => ['FANFARE_PORT', 'the port that the server listens on'],
        'REVERB_SERVER_PATH' => ['FANFARE_PATH', 'what comes before /app/{key} in URLs'],
        'REVERB_HOST' => ['FANFARE_URL', 'the host in the public URL, which fanfare:doctor tries'],
        'REVERB_PORT' => ['FANFARE_URL', 'the port in the public URL'],
        'REVERB_SCHEME' => ['FANFARE_URL', 'the scheme of the public URL'],
        'REVERB_APP_ACTIVITY_TIMEOUT' => ['FANFARE_ACTIVITY_TIMEOUT_S', 'the limit activity_timeout_s'],
        'REVERB_APP_PING_INTERVAL' => ['FANFARE_PONG_TIMEOUT_S', 'the limit pong_timeout_s: how long after the server\'s ping a silent client is kept'],
        'REVERB_APP_MAX_CONNECTIONS' => ['FANFARE_APP_CONNECTIONS_MAX', 'the limit app_connections_max'],
        'REVERB_APP_MAX_MESSAGE_SIZE' => ['FANFARE_MESSAGE_BYTES_MAX', 'the limit message_bytes_max'],
        'REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM' => ['FANFARE_CLIENT_EVENTS', '"none" switches client events off; Fanfare takes them from members of the channel only'],
        'REVERB_SERVER' => [null, 'not used: there is one server'],
        'REVERB_MAX_REQUEST_SIZE' => [null, 'not used: PHP publishes through memory; the HTTP API has limits of its own'],
        'REVERB_SCALING_ENABLED' => [null, 'not used: one server per host'],
        'REVERB_SCALING_CHANNEL' => [null, 'not used: one server per host'],
        'REVERB_APP_RATE_LIMITING_ENABLED' => [null, 'not used: client events are limited by their own limits (docs/configuration.md)'],
        'REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS' => [null, 'not used: see REVERB_APP_RATE_LIMITING_ENABLED'],
        'REVERB_APP_RATE_LIMIT_DECAY_SECONDS' => [null, 'not used: see REVERB_APP_RATE_LIMITING_ENABLED'],
        'REVERB_APP_RATE_LIMIT_TERMINATE' => [null, 'not used: see REVERB_APP_RATE_LIMITING_ENABLED'],
        'REVERB_PULSE_INGEST_INTERVAL' => [null, 'not used: numbers are at fanfare:status and /metrics'],
        'REVERB_TELESCOPE_INGEST_INTERVAL' => [null, 'not used: fanfare:tail shows publications'],
    ];

    /**
     * @return array<string, array{string|null, string}>  by name: what wins over it, and the words
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
        return self::KNOWN[$name][1] ?? 'not known to Fanfare, and not used';
    }
}
