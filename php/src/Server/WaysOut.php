<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Server;

use Fanfare\Laravel\Config\ApiWay;
use Fanfare\Laravel\Config\PublisherConfig;

/**
 * How broadcasts leave this PHP, in words: the configuration, and whether the extension is loaded.
 */
final readonly class WaysOut
{
    private bool $isLoaded;

    public function __construct(private PublisherConfig $config, ?bool $isLoaded = null)
    {
        $this->isLoaded = $isLoaded ?? extension_loaded('fanfare');
    }

    /**
     * Whether nothing that this PHP broadcasts gets anywhere.
     */
    public function isCutOff(): bool
    {
        return $this->config->usesExtension() && ! $this->isLoaded && $this->config->fallback === [];
    }

    /**
     * Whether broadcasts go a slower way than the one that is configured.
     */
    public function isDetour(): bool
    {
        return $this->config->usesExtension() && ! $this->isLoaded && $this->config->fallback !== [];
    }

    public function words(): string
    {
        $fallback = implode(', then ', array_map(
            fn (ApiWay $way): string => match ($way) {
                ApiWay::Unix => 'HTTP over the Unix socket',
                ApiWay::Url => 'HTTP to '.($this->config->url?->url ?? 'a URL'),
            },
            $this->config->fallback,
        ));

        return match (true) {
            ! $this->config->usesExtension() => $fallback,
            $this->isCutOff() => 'none: the extension is not loaded, and there is no fallback',
            $this->isDetour() => "{$fallback}, since the extension is not loaded",
            default => 'the extension ('.match ($this->config->transport) {
                'ring' => 'shared memory',
                'socket' => 'socket',
                default => 'shared memory, or the socket',
            }.')'.($fallback === '' ? '' : ", then {$fallback}"),
        };
    }
}
