<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Console;

use Fanfare\Laravel\Config\ServerConfig;
use Fanfare\Laravel\Exceptions\InvalidConfiguration;
use Fanfare\Laravel\Exceptions\ServerUnreachable;
use Fanfare\Laravel\Server\Inspector;
use Illuminate\Console\Command;
use Illuminate\Contracts\Config\Repository;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Output\OutputInterface;

/**
 * `php artisan fanfare:tail`: shows what is published, as it passes the server.
 */
#[AsCommand(name: 'fanfare:tail')]
final class TailCommand extends Command
{
    protected $signature = 'fanfare:tail
        {--channel= : Only publications to this channel; * stands for any text: orders.*}
        {--app= : Only those of the app with this id}
        {--json : The server\'s lines as they come, one JSON object each}
        {--socket= : The Unix socket to ask instead of fanfare.socket}';

    protected $description = 'Show what is published, as it passes the server';

    protected $help = <<<'HELP'
        Shows publications of PHP, of the HTTP API and of clients until Ctrl-C: their channels, event, size, data, and the socket that is left out. It shows your users' data.
        Long data is cut (the server's limit tail_data_bytes_max). When more is published than can be shown, lines are lost, which is said, and nothing else waits.

        Exit codes: <info>0</info> the server has left, or Ctrl-C; <info>1</info> it cannot be reached or refuses; <info>64</info> mistakes in the configuration.
        HELP;

    public function handle(Repository $config): int
    {
        $text = fn (string $name): ?string => is_string($this->option($name)) && $this->option($name) !== '' ? $this->option($name) : null;
        $socket = $text('socket');

        try {
            $server = ServerConfig::from((array) $config->get('fanfare'), $socket === null ? [] : ['socket' => $socket]);
            $lines = (new Inspector($server->socket))->tail($text('app'), $text('channel'));
            $this->output->getErrorStyle()->writeln('Showing what is published. Press Ctrl+C to stop.', OutputInterface::OUTPUT_RAW);

            foreach ($lines as $line) {
                if ($line !== null) {
                    $this->output->writeln($this->option('json') ? $line : self::words($line), OutputInterface::OUTPUT_RAW);
                }
            }
        } catch (InvalidConfiguration $e) {
            return $this->fault($e->getMessage(), 64);
        } catch (ServerUnreachable $e) {
            return $this->fault($e->getMessage(), self::FAILURE);
        }

        $this->output->getErrorStyle()->writeln('The server has left.', OutputInterface::OUTPUT_RAW);

        return self::SUCCESS;
    }

    private static function words(string $line): string
    {
        $shown = json_decode($line, true);

        if (! is_array($shown)) {
            return self::printable($line);
        }

        if (isset($shown['lost'])) {
            return "… {$shown['lost']} lost: more was published than could be shown";
        }

        $ms = (int) ($shown['at_ms'] ?? 0);
        $details = array_filter([
            ($shown['bytes'] ?? 0).' B',
            isset($shown['except']) ? "not to {$shown['except']}" : null,
            ($shown['source'] ?? null) === 'client' ? 'by a client'.(isset($shown['user_id']) ? " (user {$shown['user_id']})" : '') : null,
        ]);

        return self::printable(implode('  ', [
            date('H:i:s', intdiv($ms, 1_000)).sprintf('.%03d', $ms % 1_000),
            $shown['app'] ?? '',
            implode(', ', (array) ($shown['channels'] ?? [])),
            $shown['event'] ?? '',
            '('.implode(', ', $details).')',
            ($shown['data'] ?? '').(($shown['cut'] ?? false) === true ? ' …' : ''),
        ]));
    }

    /**
     * Clients choose some of it: what would steer the terminal is shown as a dot.
     */
    private static function printable(string $text): string
    {
        return (string) preg_replace('/[\x00-\x1f\x7f]|\xc2[\x80-\x9f]/', '·', $text);
    }

    private function fault(string $message, int $code): int
    {
        $this->output->getErrorStyle()->writeln(['', $message, ''], OutputInterface::OUTPUT_RAW);

        return $code;
    }
}
