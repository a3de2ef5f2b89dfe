<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Publishing;

use Fanfare\Exception as PublishingFailed;
use Fanfare\Laravel\Config\ConnectionConfig;
use Fanfare\Laravel\Exceptions\ApiFailed;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\NotAccepted;
use Fanfare\Laravel\Exceptions\PayloadTooLarge;
use Fanfare\Laravel\Exceptions\RequestRefused;
use Fanfare\TooLarge;
use Illuminate\Broadcasting\BroadcastException;
use JsonException;
use Throwable;
use TypeError;
use ValueError;

/**
 * What becomes of one broadcast: its payload is encoded once, more than 100 channels become several
 * publications, and each encrypted channel gets a publication of its own, sealed with its own key. How
 * publications leave PHP is the Publisher's.
 */
final readonly class Outlet
{
    private const int TOO_LARGE = 413;

    public function __construct(private Publisher $publisher, private ConnectionConfig $config) {}

    /**
     * @param  list<string>  $channels
     * @param  mixed  $payload  what can be written as JSON
     * @param  string|null  $except  the socket id that must not receive it
     *
     * @throws BroadcastException
     * @throws ExtensionMissing|InvalidConfiguration
     */
    public function broadcast(array $channels, string $event, mixed $payload, ?string $except): void
    {
        if ($channels === []) {
            return;
        }

        try {
            $data = json_encode($payload, JSON_THROW_ON_ERROR);
        } catch (JsonException $e) {
            throw new BroadcastException(
                "Broadcasting [{$event}]: expected a payload that can be written as JSON, found: {$e->getMessage()}.",
                previous: $e,
            );
        }

        $done = 0;

        foreach ($this->publications($channels, $data) as [$names, $bytes]) {
            try {
                // @mago-expect analysis:possibly-invalid-argument (array_chunk() makes no empty chunks)
                $this->publisher->publish($names, $event, $bytes, $except);
            } catch (PublishingFailed|ApiFailed|TypeError|ValueError $e) {
                throw $this->failure($event, count($channels), $done, strlen($bytes), $e);
            }

            $done += count($names);
        }
    }

    /**
     * All of them are made before the first one leaves, so that a missing key lets nothing out.
     *
     * @param  non-empty-list<string>  $channels
     * @return list<array{list<string>, string}>  none of them without channels
     */
    private function publications(array $channels, string $data): array
    {
        $encrypted = [];

        foreach ($channels as $channel) {
            if (ChannelCipher::isEncrypted($channel)) {
                $encrypted[] = $channel;
            }
        }

        if ($encrypted === [] && count($channels) <= Publisher::CHANNELS_MAX) {
            return [[$channels, $data]];
        }

        $publications = [];

        foreach (array_chunk(array_diff($channels, $encrypted), Publisher::CHANNELS_MAX) as $names) {
            $publications[] = [$names, $data];
        }

        if ($encrypted !== []) {
            $cipher = $this->cipher();

            foreach ($encrypted as $name) {
                $publications[] = [[$name], $cipher->seal($name, $data)];
            }
        }

        return $publications;
    }

    /**
     * Seals for the encrypted channels of the app, and says their secrets.
     *
     * @throws ExtensionMissing|InvalidConfiguration
     */
    public function cipher(): ChannelCipher
    {
        return new ChannelCipher($this->config->checked()->neededEncryptionMasterKey());
    }

    private function failure(string $event, int $channels, int $done, int $bytes, Throwable $e): BroadcastException
    {
        $what = "Broadcasting [{$event}] to {$channels} channel(s)".($done === 0 ? '' : ", of which {$done} have it,");

        if ($e instanceof TooLarge || $e instanceof RequestRefused && $e->status === self::TOO_LARGE) {
            return PayloadTooLarge::of($what, $bytes, $this->config->checked()->ringBytes, $e);
        }

        return new BroadcastException(
            "{$what} failed: {$e->getMessage()}",
            // Of the way that was meant, whatever stood in for it.
            previous: $e instanceof NotAccepted ? $e->failures[0] : $e,
        );
    }
}
