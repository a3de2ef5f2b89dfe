<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * Where the server's certificate and key are. What is in the files is the server's business, which
 * reads them at its start and on SIGHUP.
 */
final readonly class TlsConfig
{
    private const string PEM = 'the path of a PEM file';

    private function __construct(public string $certificate, public string $key) {}

    /**
     * `fanfare.server.tls`; null when neither file is named.
     */
    public static function read(Section $tls): ?self
    {
        $tls->only(['certificate', 'key']);

        $certificate = $tls->optionalPath('certificate', self::PEM);
        $key = $tls->optionalPath('key', self::PEM);

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
}
