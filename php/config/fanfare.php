<?php

declare(strict_types=1);

/*
 * Everything that Fanfare reads from Laravel's configuration, and the only place that reads the
 * environment for it. Variables of Reverb count where none of Fanfare's own is set
 * (docs/migrate-from-reverb.md). PHP workers read `apps`, `socket` and `publish`; `php artisan fanfare:start`
 * reads `apps`, `socket` and `server`, and hands them to the server.
 *
 * Values are checked when they are first used; all mistakes are reported at once.
 */

// A variable that is there but empty (NAME= in .env) counts as not set, so that it hides neither Reverb's nor a
// default. Where emptiness has a meaning, as for a path or a list, the variable is read as it is.
$filled = static fn (string $name, mixed $otherwise = null): mixed => in_array($value = env($name), [null, ''], true) ? $otherwise : $value;

return [

    /*
     * The tenants of the server. The first is the one that the `fanfare` broadcasting connection
     * publishes to, unless the connection names another one: ['driver' => 'fanfare', 'app' => ID].
     */
    'apps' => [
        [
            'id' => $filled('FANFARE_APP_ID', env('REVERB_APP_ID')),
            'key' => $filled('FANFARE_APP_KEY', env('REVERB_APP_KEY')),
            'secret' => $filled('FANFARE_APP_SECRET', env('REVERB_APP_SECRET')),
            // For encrypted channels: 32 bytes in base64. PHP alone knows it, the server does not.
            'encryption_master_key' => env('FANFARE_ENCRYPTION_MASTER_KEY'),

            // false: clients, PHP processes and requests of this app are turned away.
            'enabled' => env('FANFARE_APP_ENABLED', true),

            // Whether clients may send events to each other, Echo's whisper().
            'client_events' => $filled('FANFARE_APP_CLIENT_EVENTS', env('REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM') !== 'none'),

            // Whether channels other than presence channels are told how many subscribe.
            'subscription_count' => env('FANFARE_APP_SUBSCRIPTION_COUNT', false),

            // The pages whose scripts may connect: 'https://example.com', '*.example.com', 'localhost:3000'
            // or '*', as an array or between commas. Without a scheme any scheme
            // and any port; with one, without a port the scheme's own.
            'allowed_origins' => env('FANFARE_APP_ALLOWED_ORIGINS', '*'),

            // A client that sends no Origin is no browser: 'allow' or 'refuse' it.
            'missing_origin' => env('FANFARE_APP_MISSING_ORIGIN', 'allow'),

            // Limits of this app alone, by their name: ['app_connections_max' => 500].
            'limits' => [],

            // Who is told what happens in the channels. Only `url` is required; without `events` all:
            // ['url' => 'https://example.com/webhook', 'events' => ['channel_occupied', 'channel_vacated'],
            //  'channel_prefix' => 'presence-', 'channel_suffix' => null, 'headers' => ['X-Token' => '…']]
            'webhooks' => [],

            // Whether the server keeps what happens in the channels for `php artisan fanfare:listen`, which makes
            // Laravel events of it: true for all of it, or, as with webhooks,
            // ['events' => ['client_event'], 'channel_prefix' => 'presence-']. It keeps it until somebody listens.
            'listener' => env('FANFARE_APP_LISTENER', false),
        ],
    ],

    /*
     * The Unix socket at which PHP meets the server. Absolute, at most 107 bytes (a limit of the
     * kernel), the same for every PHP process and the server. It lies in storage/ because both
     * Composer-style and container deployments share that directory between CLI and FPM.
     */
    'socket' => $filled('FANFARE_SOCKET', storage_path('framework/fanfare.sock')),

    /*
     * Where browsers connect, as they write it: https://app.example, with a path if there is one
     * before /app. Only `fanfare:doctor` uses it, to try whether a WebSocket gets through.
     */
    'url' => $filled('FANFARE_URL', $filled('REVERB_HOST') === null ? null
        : $filled('REVERB_SCHEME', 'https').'://'.env('REVERB_HOST').':'.$filled('REVERB_PORT', 443)),

    /*
     * How broadcasts leave PHP. A connection in config/broadcasting.php may replace any of these values by
     * an array `publish` of its own.
     */
    'publish' => [
        // Through the extension: 'auto' takes shared memory, or the socket where that cannot be had; 'ring' or
        // 'socket' only that. 'http': without the extension, by what `fallback` names.
        'transport' => env('FANFARE_TRANSPORT', 'auto'),

        // Where broadcasts go when the extension is not loaded or reaches nobody. 'unix': the server's HTTP
        // API over `socket`. 'url': the HTTP API at `url`. A list (an array, or commas between) is tried in
        // its order; 'auto' is unix, then url if there is one; 'none' throws instead.
        'fallback' => env('FANFARE_FALLBACK', 'auto'),

        // The HTTP API of a server on another host, such as http://10.0.0.5:8080.
        'url' => env('FANFARE_API_URL'),

        // How long one request to the HTTP API may take, connecting included.
        'http_timeout_ms' => env('FANFARE_HTTP_TIMEOUT_MS', 5_000),

        // Shared memory of each PHP process, in bytes: a power of two from 4096 to 268435456.
        'ring_bytes' => env('FANFARE_RING_BYTES', 1_048_576),

        // How long broadcast() waits for room when the server does not keep up, before it throws.
        'timeout_ms' => env('FANFARE_PUBLISH_TIMEOUT_MS', 250),

        // How long the first broadcast() of a process waits for the server to answer its greeting.
        'connect_timeout_ms' => env('FANFARE_CONNECT_TIMEOUT_MS', 500),

        // How long a process that ends waits for a server to read what it still has to say.
        'exit_timeout_ms' => env('FANFARE_EXIT_TIMEOUT_MS', 1_000),
    ],

    'server' => [
        // Where browsers connect. Port 0 lets the kernel choose; the server logs what it chose.
        'host' => $filled('FANFARE_HOST', env('REVERB_SERVER_HOST', '0.0.0.0')),
        'port' => $filled('FANFARE_PORT', env('REVERB_SERVER_PORT', 8080)),

        // What comes before /app/{key}, such as '/ws'; Echo's wsPath has the same.
        'path' => env('FANFARE_PATH', env('REVERB_SERVER_PATH', '')),

        // Absolute paths of PEM files: with them the port speaks TLS, and nothing else. Renewed ones are
        // taken on SIGHUP. Behind a proxy that ends TLS, leave them out.
        'tls' => [
            'certificate' => env('FANFARE_TLS_CERTIFICATE'),
            'key' => env('FANFARE_TLS_KEY'),
        ],

        // Whose X-Forwarded-For is believed: addresses and networks, comma separated or an array; '*' is
        // whoever connects. For the addresses of clients in the log.
        'trusted_proxies' => env('FANFARE_TRUSTED_PROXIES', ''),

        // Threads that serve connections; null is one per core.
        'shards' => env('FANFARE_SHARDS'),

        // Who may connect to the socket: its mode, and the numeric user ids (comma separated or an
        // array) that may publish beside root and the server's own user, such as that of PHP-FPM.
        'socket_mode' => env('FANFARE_SOCKET_MODE', '0660'),
        'socket_uids' => env('FANFARE_SOCKET_UIDS', ''),

        'log' => [
            // error, warn, info, debug or trace.
            'level' => env('FANFARE_LOG_LEVEL', 'info'),
            // text or json, on standard error.
            'format' => env('FANFARE_LOG_FORMAT', 'text'),
        ],

        // Limits that differ from the server's own, by their name: ['outbox_bytes_max' => 1_048_576]. Those
        // that Reverb has variables for are here.
        'limits' => array_filter([
            'activity_timeout_s' => env('REVERB_APP_ACTIVITY_TIMEOUT'),
            'pong_timeout_s' => env('REVERB_APP_PING_INTERVAL'),
            'app_connections_max' => env('REVERB_APP_MAX_CONNECTIONS'),
            'message_bytes_max' => env('REVERB_APP_MAX_MESSAGE_SIZE'),
        ], 'is_numeric'),

        // Whom to trust, beside the system's certificate authorities, when webhooks go to https: the absolute
        // path of a PEM file.
        'webhook_ca_file' => env('FANFARE_WEBHOOK_CA_FILE'),

        // The server's binary; null looks in vendor/bin and on the PATH.
        'binary' => env('FANFARE_BINARY'),
    ],

    /*
     * The Redis or Valkey over which several servers hear each other (docs/scaling.md). Without `url` and
     * `connection` there is one server, and no Redis is needed.
     */
    'redis' => [
        // A connection of config/database.php, under redis: its hosts, user and password. Laravel's prefix is not used.
        'connection' => env('FANFARE_REDIS_CONNECTION'),

        // Or the server itself: redis://host:port, rediss:// with TLS, unix:/path. Several, an array or between
        // commas: servers of a cluster, or the Sentinels.
        'url' => env('FANFARE_REDIS_URL'),

        // Whether it is a Redis Cluster.
        'cluster' => env('FANFARE_REDIS_CLUSTER', false),

        // The name of the primary, when `url` names Sentinels; and who this server is to them.
        'sentinel' => env('FANFARE_REDIS_SENTINEL'),
        'sentinel_username' => env('FANFARE_REDIS_SENTINEL_USERNAME'),
        'sentinel_password' => env('FANFARE_REDIS_SENTINEL_PASSWORD'),

        // What every name in Redis begins with: another for each fleet that shares a Redis.
        'prefix' => env('FANFARE_REDIS_PREFIX', 'fanfare:'),

        // Who this server is to Redis. The password, or the absolute path of a file with it.
        'username' => env('FANFARE_REDIS_USERNAME'),
        'password' => env('FANFARE_REDIS_PASSWORD'),
        'password_file' => env('FANFARE_REDIS_PASSWORD_FILE'),

        // Whom to trust beside the system's certificate authorities: the absolute path of a PEM file.
        'ca_file' => env('FANFARE_REDIS_CA_FILE'),
    ],

];
