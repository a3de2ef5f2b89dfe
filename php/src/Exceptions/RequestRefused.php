<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Exceptions;

use RuntimeException;

/**
 * A server answered a request with something else than 200.
 */
final class RequestRefused extends RuntimeException implements ApiFailed
{
    private const int WORDS_BYTES_MAX = 500;

    private function __construct(string $message, public readonly int $status, public readonly string $words)
    {
        parent::__construct($message);
    }

    /**
     * @param  string  $answer  the body: an error as JSON from Fanfare, plain text from Pusher
     */
    public static function with(int $status, string $answer, string $request): self
    {
        $words = self::words($answer);
        $remedy = match ($status) {
            401 => 'compare id, key and secret of the app with the server\'s, and the clocks of both machines',
            403 => 'the app is disabled or over its quota',
            404 => 'see whether the server has an app of this id, and whether this is the address of its HTTP API',
            413 => 'send less, or raise the server\'s limit',
            429 => 'send fewer requests, or raise the server\'s limit',
            500, 502, 503, 504 => 'look into the log of the server, or of the proxy before it',
            default => '',
        };

        return new self(
            "expected status 200 for {$request}, but found {$status}: {$words}".($remedy === '' ? '' : "; {$remedy}"),
            $status,
            $words,
        );
    }

    private static function words(string $answer): string
    {
        $error = json_decode($answer, true);
        $error = is_array($error) ? $error['error'] ?? null : null;
        $words = match (true) {
            is_array($error) && is_string($error['message'] ?? null) => $error['message'],
            is_string($error) => $error,
            default => UnexpectedAnswer::excerpt($answer),
        };

        return substr($words, 0, self::WORDS_BYTES_MAX);
    }
}
