<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * Where the server's certificate and key are. What is in the files is the server's business, which
 * reads them at its start and on SIGHUP.
 */
final readonly class TlsConfig
{
    private function __construct(public string $certificate, public string $key) {}

    /**
     * `fanfare.server.tls`; null when neither file is named.
     */
    public static function read(Section $tls): ?self
    {
        $tls->only(['certificate', 'key']);

        $certificate = self::path($tls, 'certificate');
        $key = self::path($tls, 'key');

        if ($certificate !== null && $key === null) {
            $tls->mistaken('key', 'the path of the key that belongs to the certificate', null, 'set FANFARE_TLS_KEY');
        }

        if ($key !== null && $certificate === null) {
            $tls->mistaken('certificate', 'the path of the certificate that belongs to the key', null, 'set FANFARE_TLS_CERTIFICATE');
        }

        return $certificate === null || $key === null ? null : new self($certificate, $key);
    }

    /**
     * @return array{certificate: string, key: string}
     */
    public function document(): array
    {
        return ['certificate' => $this->certificate, 'key' => $this->key];
    }

    private static function path(Section $tls, string $name): ?string
    {
        $path = $tls->optionalText($name, 'the path of a PEM file');

        if ($path !== null && ! str_starts_with($path, '/')) {
            $tls->mistaken($name, 'an absolute path', $path, 'the server may be started in any directory', secret: false);
        }

        return $path;
    }
}
