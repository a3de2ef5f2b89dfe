<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * The real server, whose log at level trace has a line for every publication.
 */
final class TracedServer
{
    private readonly RunningCommand $process;

    /** Where clients and other hosts reach it. */
    public readonly string $url;

    /**
     * @param  list<array<string, mixed>>|null  $apps  null: the chat application's
     * @param  array<string, int>  $limits
     * @param  string  $level  of the log. Where more happens than a pipe holds, and nobody reads it, trace holds the server up
     * @param  string|null  $redis  the URL of what it shares with other servers
     */
    public function __construct(string $socket, ?array $apps = null, array $limits = [], string $level = 'trace', ?string $redis = null)
    {
        $this->process = new RunningCommand([ChatApplication::serverBinary(), 'serve', '--config', '-']);
        $this->process->write(json_encode([
            'listen' => '127.0.0.1:0',
            'socket' => $socket,
            'shards' => 1,
            'limits' => (object) $limits,
            'log' => ['level' => $level, 'format' => 'json'],
            'apps' => $apps ?? [['id' => 'test', 'key' => ChatApplication::KEY, 'secret' => ChatApplication::SECRET]],
        ] + ($redis === null ? [] : ['redis' => ['url' => $redis]]), JSON_THROW_ON_ERROR))->closeInput();

        $serving = $this->process->line('"serving"');

        if (preg_match('/127\.0\.0\.1:(\d+)/', $this->process->transcript, $matches) !== 1) {
            throw new RuntimeException("expected an address in the log, found\n{$serving}");
        }

        $this->url = "http://127.0.0.1:{$matches[1]}";
    }

    /**
     * Waits for the publication of an event of that name.
     *
     * @return array{app: string, channels: string, event: string, data: string}  channels have spaces between
     */
    public function published(string $event): array
    {
        return self::publication($this->process->line((string) json_encode($event)));
    }

    /**
     * Waits for the next publication, whatever its name.
     *
     * @return array{app: string, channels: string, event: string, data: string}  channels have spaces between
     */
    public function next(): array
    {
        return self::publication($this->process->line('"message":"publication"'));
    }

    /**
     * @return array{app: string, channels: string, event: string, data: string}
     */
    private static function publication(string $line): array
    {
        return json_decode($line, true, flags: JSON_THROW_ON_ERROR)['fields'];
    }

    public function line(string $text): string
    {
        return $this->process->line($text);
    }

    /**
     * Asks it to leave, and waits.
     */
    public function stop(): int
    {
        return $this->process->signal(SIGTERM)->exitCode();
    }

    public function signal(int $signal): RunningCommand
    {
        return $this->process->signal($signal);
    }

    public function transcript(): string
    {
        return $this->process->transcript;
    }
}
