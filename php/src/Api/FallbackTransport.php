<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Closure;
use Fanfare\Laravel\Exceptions\ApiUnreachable;

/**
 * Asks the first server that can be reached. A question may be asked twice; what changes something is only
 * sent to the next server when the one before cannot have had it.
 */
final readonly class FallbackTransport implements ApiTransport
{
    /**
     * @param  Closure(): non-empty-list<ApiTransport>  $transports  in the order in which they are tried
     */
    public function __construct(private Closure $transports) {}

    public function request(string $method, string $path, array $query = [], ?array $body = null): Answer
    {
        $unreached = [];

        foreach (($this->transports)() as $transport) {
            try {
                return $transport->request($method, $path, $query, $body);
            } catch (ApiUnreachable $e) {
                if ($e->mayHaveArrived && $method !== 'GET') {
                    throw $e;
                }

                $unreached[] = $e;
            }
        }

        throw ApiUnreachable::anywhere($unreached);
    }
}
