<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use CurlHandle;
use Fanfare\Laravel\Config\Endpoint;
use Fanfare\Laravel\Exceptions\ApiUnreachable;
use Fanfare\Laravel\Exceptions\ExtensionMissing;
use Fanfare\Laravel\Exceptions\UnexpectedAnswer;

/**
 * This process's HTTP connections, one for each server, kept open between requests.
 *
 * Owns libcurl. Knows no app and no secret: what is sent was signed before. One object is made when the
 * application boots and serves all that is cloned from it, so that a long-lived worker keeps its
 * connections. Under PHP-FPM it lasts for one request of the application.
 *
 * A fork is survived: a child never writes into its parent's connection.
 */
final class Connections
{
    /** Of an answer; the list of all channels is the longest there is. */
    public const int ANSWER_BYTES_MAX = 64 * 1024 * 1024;

    /** Nobody publishes to more servers than this; beyond it the oldest connection is closed. */
    public const int CONNECTIONS_MAX = 16;

    /** @var array<string, CurlHandle> by endpoint, the one used last at the end */
    private array $open = [];

    private int $pid = 0;

    /**
     * One request and its answer.
     *
     * @param  'GET'|'POST'  $method
     * @param  string  $target  path and query
     * @return array{int, string}  the answer's status and body
     *
     * @throws ApiUnreachable|UnexpectedAnswer|ExtensionMissing
     */
    public function exchange(Endpoint $endpoint, string $method, string $target, string $body): array
    {
        $curl = $this->handle($endpoint);
        $answer = '';

        curl_setopt_array(
            $curl,
            self::options($endpoint, $method, $target, $body)
            + [
                CURLOPT_WRITEFUNCTION => static function (CurlHandle $curl, string $chunk) use (&$answer): int {
                    if ((strlen($answer) + strlen($chunk)) > self::ANSWER_BYTES_MAX) {
                        return 0;
                    }

                    $answer .= $chunk;

                    return strlen($chunk);
                },
            ],
        );

        try {
            if (curl_exec($curl) === false) {
                throw match (curl_errno($curl)) {
                    CURLE_WRITE_ERROR => UnexpectedAnswer::tooLong($endpoint, self::ANSWER_BYTES_MAX),
                    default => ApiUnreachable::at(
                        $endpoint,
                        curl_error($curl),
                        // Nothing of the request was written: nobody can have acted on it.
                        mayHaveArrived: (int) curl_getinfo($curl, CURLINFO_REQUEST_SIZE) > 0,
                    ),
                };
            }

            return [(int) curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $answer];
        } finally {
            // Lets go of the body and the closure; the connection stays open.
            curl_reset($curl);
        }
    }

    private function handle(Endpoint $endpoint): CurlHandle
    {
        if (! function_exists('curl_init')) {
            throw ExtensionMissing::curl();
        }

        $this->forgetTheParents();

        $name = $endpoint->label();
        $handle = $this->open[$name] ?? curl_init();
        unset($this->open[$name]);

        if (count($this->open) >= self::CONNECTIONS_MAX) {
            array_shift($this->open);
        }

        return $this->open[$name] = $handle;
    }

    /**
     * After a fork both processes hold the same sockets. Closing a copy of one harms nobody; a TLS connection
     * is ended by it, which the parent notices before it uses it again, and connects anew.
     */
    private function forgetTheParents(): void
    {
        $pid = (int) getmypid();

        if ($pid !== $this->pid) {
            $this->open = [];
            $this->pid = $pid;
        }
    }

    /**
     * @return array<int, mixed>
     */
    private static function options(Endpoint $endpoint, string $method, string $target, string $body): array
    {
        $headers = ['Accept: application/json', 'User-Agent: fanfare-laravel'];

        if ($method === 'POST') {
            // Without the third, curl asks before it sends a longer body, and waits for a second.
            array_push($headers, 'Content-Type: application/json', 'Expect:');
        }

        $options = [
            CURLOPT_URL => $endpoint->url.$target,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
            CURLOPT_CONNECTTIMEOUT_MS => $endpoint->connectTimeoutMs,
            CURLOPT_TIMEOUT_MS => $endpoint->timeoutMs,
            // Time-outs without SIGALRM, which belongs to the application.
            CURLOPT_NOSIGNAL => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            // Channel names and prefixes are sent as they were signed.
            CURLOPT_PATH_AS_IS => true,
        ];

        if ($method === 'POST') {
            $options[CURLOPT_POST] = true;
            $options[CURLOPT_POSTFIELDS] = $body;
        }

        if ($endpoint->socket !== null) {
            // libcurl leaves a proxy of the environment out of this by itself.
            $options[CURLOPT_UNIX_SOCKET_PATH] = $endpoint->socket;
        }

        return $options;
    }
}
