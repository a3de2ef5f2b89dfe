<?php

declare(strict_types=1);

namespace App\Console\Commands;

use App\Events\MessageSent;
use Illuminate\Console\Command;

/**
 * Broadcasts and says what each call took, one JSON line per broadcast. Together with a client that
 * notes when each event arrived, this is the proof that `demo` prints.
 */
final class TimeBroadcasts extends Command
{
    protected $signature = 'chat:time {--count=51 : How many times} {--pause-us=2000 : Microseconds between two}';

    protected $description = 'Broadcast messages and print what each call took';

    public function handle(): int
    {
        $count = (int) $this->option('count');
        $pauseUs = (int) $this->option('pause-us');
        $lines = [];

        for ($n = 0; $n < $count; $n++) {
            $id = "proof-{$n}";
            $event = new MessageSent($id, 'artisan', "Broadcast {$n} of the proof");

            $start = hrtime(true);
            broadcast($event);
            $took = hrtime(true) - $start;

            $lines[] = json_encode(['id' => $id, 'callNs' => $took, 'startNs' => $start], JSON_THROW_ON_ERROR);

            // Paced like a busy application: the server has gone to sleep in between.
            usleep($pauseUs);
        }

        // Printed at the end: writing to a terminal between two calls would be measured with them.
        $this->output->writeln($lines);

        return self::SUCCESS;
    }
}
