<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * The server does not let this process listen, or no longer. `$reason` is for programs.
 */
final class ListeningEnded extends RuntimeException
{
    private function __construct(string $message, public readonly string $reason)
    {
        parent::__construct($message);
    }

    /**
     * @param  string  $code  the server's word for it
     */
    public static function by(string $code, string $message, string $app): self
    {
        return match ($code) {
            'listen_off' => self::off($app, configured: false),
            'credentials' => new self(
                "The app {$app} has another key or secret on the server now. Start this anew, with the configuration of the server.",
                $code,
            ),
            default => new self("The server does not let this process listen to the app {$app}: {$message}.", $code),
        };
    }

    /**
     * @param  bool  $configured  whether this application's configuration has the listener already
     */
    public static function off(string $app, bool $configured): self
    {
        $remedy = $configured
            ? 'This application\'s configuration has one: the server was started before. Restart it (`php artisan fanfare:restart`).'
            : 'Set FANFARE_APP_LISTENER=true in .env, or `\'listener\' => true` in the app\'s entry in config/fanfare.php, and restart the server (`php artisan fanfare:restart`).';

        return new self("Expected that the server keeps what happens in the app {$app} for a listener, found that it does not. {$remedy}", 'listen_off');
    }
}
