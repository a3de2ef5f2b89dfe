<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use OpenSSLAsymmetricKey;
use OpenSSLCertificate;

/**
 * Certificates for one name, and their keys, as PEM files.
 */
final readonly class Certificate
{
    /**
     * One that vouches for itself.
     */
    public static function selfSigned(string $certificate, string $key, string $name = 'localhost', int $days = 1): void
    {
        self::write($certificate, $key, $name, $days, null, null);
    }

    /**
     * One of an authority that nobody knows.
     */
    public static function ofAnAuthority(Scratch $scratch, string $certificate, string $key, string $name = 'localhost'): void
    {
        [$authority, $itsKey] = self::write($scratch->path('authority.pem'), $scratch->path('authority.key'), 'Some authority', 1, null, null);
        self::write($certificate, $key, $name, 1, $authority, $itsKey);
    }

    /**
     * @return array{OpenSSLCertificate, OpenSSLAsymmetricKey}
     */
    private static function write(string $certificate, string $key, string $name, int $days, ?OpenSSLCertificate $authority, ?OpenSSLAsymmetricKey $itsKey): array
    {
        $new = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);
        $request = openssl_csr_new(['commonName' => $name], $new, ['digest_alg' => 'sha256']);
        $signed = openssl_csr_sign($request, $authority, $itsKey ?? $new, $days, ['digest_alg' => 'sha256'], random_int(1, PHP_INT_MAX));
        openssl_x509_export_to_file($signed, $certificate);
        openssl_pkey_export_to_file($new, $key);

        return [$signed, $new];
    }
}
