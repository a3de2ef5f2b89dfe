<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

use Fanfare\Laravel\Server\CredentialsProbe;
use Fanfare\Laravel\Server\ServerStatus;

/**
 * Whether a browser can connect: a real WebSocket handshake, through whatever stands in between.
 */
final readonly class PublicUrlCheck implements Check
{
    private const string NGINX = 'For nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; (deploy/nginx.conf)';

    public function __construct(private float $timeoutS = 5.0) {}

    public function title(): string
    {
        return 'Public URL';
    }

    public function findings(Subject $subject): iterable
    {
        $key = array_values($subject->server()->apps ?? [])[0]->credentials->key ?? null;
        $running = $subject->running();
        $url = $subject->url ?? ($running === null ? self::directOf($subject) : self::direct($running));

        if ($key === null || $url === null) {
            yield Finding::note(
                'Not looked at: '
                .(
                    $key === null
                        ? 'the configuration has mistakes.'
                        : (
                            $running === null
                            && $subject->portAnswer() === null
                                ? 'no server answers, and no URL is known.'
                                : 'the server speaks TLS for a name, and no URL is known.'
                        )
                ),
                'Set FANFARE_URL to where browsers connect, or give --url=https://….',
            );

            return;
        }

        if ($subject->url === null) {
            yield Finding::note(
                "No public URL is known, so the server is tried directly ({$url}).",
                'Set FANFARE_URL to where browsers connect, or give --url=https://…, to try the proxy in front of it too.',
            );
        }

        yield $this->judge(WebSocketHandshake::attempt($url, $key, $subject->origin, $this->timeoutS), $url);
    }

    private function judge(WebSocketHandshake $handshake, string $url): Finding
    {
        if ($handshake->fault !== null) {
            return Finding::error(
                "{$url}: {$handshake->fault}.",
                $handshake->remedy ?? 'See whether the name and port are right, and whether a proxy listens there.',
            );
        }

        if ($handshake->status === 101) {
            return match (true) {
                $handshake->event === 'pusher:connection_established' => Finding::good("A WebSocket client connects to {$url} ({$handshake->ms} ms)."),
                $handshake->code === 4001 => Finding::error(
                    "{$url} leads to a server that has no app with this key.",
                    'It was started with another FANFARE_APP_KEY, or is another server. '.CredentialsProbe::REMEDY,
                ),
                default => Finding::error(
                    "{$url} accepts WebSockets, but says: ".($handshake->said === '' ? 'nothing' : $handshake->said),
                    'docs/operations.md ("What clients are told") has the codes.',
                ),
            };
        }

        $found = "{$url} answers a WebSocket handshake with status {$handshake->status}";

        return match (true) {
            $handshake->status === 426, str_contains($handshake->said, 'bad_handshake') => Finding::error(
                "{$found}: a proxy in between does not pass on the headers Upgrade and Connection, or speaks HTTP/1.0 to the server.",
                self::NGINX,
            ),
            $handshake->status >= 300 && $handshake->status < 400 => Finding::error(
                "{$found}, a redirection to {$handshake->location}, which WebSocket clients do not follow.",
                'Use the address that it redirects to.',
            ),
            $handshake->status === 404 => Finding::error(
                "{$found}: whatever is there does not pass /app/… on to Fanfare.",
                'Let the proxy pass the location /app/ on to the server (deploy/nginx.conf). If the server has a path before it, the URL must have it too.',
            ),
            in_array($handshake->status, [502, 503, 504], true) => Finding::error(
                "{$found}: the proxy does not reach the server.",
                'Compare its upstream with FANFARE_HOST and FANFARE_PORT, and see whether the server runs.',
            ),
            default => Finding::error(
                "{$found}: it is not Fanfare that answers.",
                'Let the proxy pass the location /app/ on to the server (deploy/nginx.conf).',
            ),
        };
    }

    private static function direct(ServerStatus $running): ?string
    {
        $address = $running->listen[0] ?? null;

        // A certificate is for a name, which is not known.
        return $address === null || $running->tls ? null : 'http://'.PortAnswer::reachable($address).$running->path;
    }

    /**
     * The same of a server that does not answer this user over its socket, as far as its port tells.
     */
    private static function directOf(Subject $subject): ?string
    {
        return $subject->server()?->tls === null ? $subject->portAnswer()?->url : null;
    }
}
