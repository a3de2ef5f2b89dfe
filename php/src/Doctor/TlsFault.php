<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use OpenSSLCertificate;

/**
 * Why a TLS handshake failed, told by others that look at less and less of the certificate: PHP itself says hardly more
 * than that it failed.
 */
final readonly class TlsFault
{
    public const string NO_TLS = 'The port does not speak TLS, or no version of it that is allowed here: correct the proxy, or use http:// or ws://.';

    private const string TRUSTED = 'Use a certificate that browsers trust (Let\'s Encrypt, for one). If an authority of your own issued it, this machine and every browser have to trust that authority.';

    private function __construct(public string $fault, public string $remedy) {}

    /**
     * @param  string  $address  tls://HOST:PORT
     * @param  string  $host  the name that was asked for
     * @param  string  $reason  PHP's words for the failure
     * @param  array<string, string>  $ssl  of the context: whom to trust
     */
    public static function of(string $address, string $host, string $reason, float $timeoutS, array $ssl = []): self
    {
        $certificate = self::certificate($address, $host, true, $timeoutS, $ssl);

        if ($certificate !== null) {
            return new self(
                "the certificate is not for the name {$host}, but for ".self::names($certificate),
                'Use a name that the certificate has, or get a certificate for this one.',
            );
        }

        $certificate = self::certificate($address, $host, false, $timeoutS, $ssl);

        return $certificate === null
            ? new self(
                "cannot connect: {$reason}",
                self::NO_TLS,
            )
            : self::distrusted($certificate);
    }

    /**
     * The certificate of a server that this PHP would trust, or of any, whatever its name. Null: there is no such one.
     *
     * @param  array<string, string>  $ssl
     * @return array<array-key, mixed>|null
     */
    private static function certificate(string $address, string $host, bool $isTrusted, float $timeoutS, array $ssl): ?array
    {
        $context = stream_context_create([
            'ssl' => $ssl
                + [
                    'peer_name' => $host,
                    'verify_peer' => $isTrusted,
                    'verify_peer_name' => false,
                    'capture_peer_cert' => true,
                ],
        ]);
        $stream = @stream_socket_client($address, timeout: $timeoutS, context: $context);

        if ($stream === false) {
            return null;
        }

        fclose($stream);
        $captured = stream_context_get_options($context)['ssl']['peer_certificate'] ?? null;
        $certificate = $captured instanceof OpenSSLCertificate ? openssl_x509_parse($captured) : false;

        return is_array($certificate) ? $certificate : null;
    }

    /**
     * @param  array<array-key, mixed>  $certificate
     */
    private static function distrusted(array $certificate): self
    {
        $until = $certificate['validTo_time_t'] ?? null;
        $from = $certificate['validFrom_time_t'] ?? null;
        $issuer = $certificate['issuer'] ?? null;

        return match (true) {
            is_int($until) && $until <= time() => new self(
                'the certificate has expired on '.gmdate('Y-m-d', $until),
                'Renew it, and have the proxy (or the server, by SIGHUP) read it again.',
            ),
            is_int($from) && $from > time() => new self('the certificate is valid from '.gmdate('Y-m-d', $from).' on', 'Compare the clocks of both machines.'),
            is_array($issuer) && $issuer === ($certificate['subject'] ?? null) => new self(
                'the certificate is self-signed: nobody trusts it by itself',
                self::TRUSTED,
            ),
            default => new self(
                'the certificate is of an authority that is not known here, or the certificates between are missing',
                'Let the proxy send those between too (fullchain.pem). '.self::TRUSTED,
            ),
        };
    }

    /**
     * @param  array<array-key, mixed>  $certificate
     */
    private static function names(array $certificate): string
    {
        $alternatives = $certificate['extensions']['subjectAltName'] ?? null;
        $common = $certificate['subject']['CN'] ?? null;

        return match (true) {
            is_string($alternatives) => str_replace('DNS:', '', $alternatives),
            is_string($common) => $common,
            default => 'none',
        };
    }
}
