<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Exception as PublishingFailed;
use Fanfare\Laravel\Exceptions\ApiFailed;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;

/**
 * The way of a publication out of PHP.
 *
 * A publisher takes finished text: channel names, the event's name and its data as JSON. Resolving
 * events, encoding and encrypting payloads and checking names are the outlet's.
 */
interface Publisher
{
    /** Channels in one publication; more are split before they come here. */
    public const int CHANNELS_MAX = 100;

    /**
     * Hands in one publication. Returning means that it was accepted.
     *
     * @param  non-empty-list<string>  $channels  at most CHANNELS_MAX
     * @param  string  $data  JSON, passed to clients byte for byte
     * @param  string|null  $except  the socket id that must not receive it
     *
     * @throws PublishingFailed|ApiFailed when it was not accepted
     * @throws ExtensionMissing|InvalidConfiguration when this process cannot publish at all
     */
    public function publish(array $channels, string $event, string $data, ?string $except): void;
}
