<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * An application with a queue and an event of its own, `Counted`, which waits in the queue to be broadcast on the
 * channel `counts`.
 */
final readonly class QueueingApplication
{
    private const string CONSOLE = <<<'PHP'
        <?php

        use Illuminate\Contracts\Broadcasting\ShouldBroadcast;
        use Illuminate\Contracts\Queue\ShouldQueue;
        use Illuminate\Database\Schema\Blueprint;
        use Illuminate\Foundation\Queue\Queueable;
        use Illuminate\Support\Facades\Artisan;
        use Illuminate\Support\Facades\Broadcast;
        use Illuminate\Support\Facades\Schema;

        /** While there is a file HOLD.WHEN, a worker that comes so far says so and waits until it is killed. */
        function hold(string $when): void
        {
            $file = storage_path("hold.{$when}");

            if (file_exists($file)) {
                fwrite(STDERR, "held {$when}\n");
                // A FIFO: opening it waits for a writer, who never comes.
                fopen($file, 'r');
            }
        }

        final class Counted implements ShouldBroadcast
        {
            public int $tries = 1_000;

            /** Seconds: each failure is a line that somebody has to read. */
            public int $backoff = 1;

            public function __construct(public int $n) {}

            public function broadcastOn(): string
            {
                return 'counts';
            }

            public function broadcastAs(): string
            {
                return 'Counted';
            }

            public function broadcastWith(): array
            {
                hold('before');

                return ['n' => $this->n];
            }

            public function middleware(): array
            {
                return [static function (object $job, callable $next): void {
                    $next($job);
                    hold('after');
                }];
            }
        }

        /** Broadcasts, forks children that broadcast too, and broadcasts again. */
        final class Forks implements ShouldQueue
        {
            use Queueable;

            public function handle(): void
            {
                $say = static fn (string $who) => Broadcast::on('counts')->as($who)->sendNow();
                $say('before');
                $children = [];

                foreach (['first', 'second'] as $who) {
                    $child = pcntl_fork();

                    if ($child === 0) {
                        $say($who);
                        exit(0);
                    }

                    $children[] = $child;
                }

                foreach ($children as $child) {
                    pcntl_waitpid($child, $status);
                    $status === 0 || throw new RuntimeException("a child ended with {$status}");
                }

                $say('after');
            }
        }

        Artisan::command('prepare', function (): void {
            Schema::create('jobs', static function (Blueprint $table): void {
                $table->id();
                $table->string('queue')->index();
                $table->longText('payload');
                $table->unsignedTinyInteger('attempts');
                $table->unsignedInteger('reserved_at')->nullable();
                $table->unsignedInteger('available_at');
                $table->unsignedInteger('created_at');
            });
        });

        Artisan::command('count {from} {to}', function (int $from, int $to): void {
            foreach (range($from, $to) as $n) {
                broadcast(new Counted($n));
            }
        });

        Artisan::command('fork', function (): void {
            Forks::dispatch();
        });
        Artisan::command('waiting', function (): void {
            $this->line('waiting: '.app('queue')->size());
        });

        PHP;

    /** As Laravel's documentation has it for SQLite with several processes, which otherwise refuse each other. */
    private const string DATABASE = <<<'PHP'
        <?php

        return ['connections' => ['sqlite' => [
            'driver' => 'sqlite',
            'database' => env('DB_DATABASE'),
            'busy_timeout' => 30_000,
            'journal_mode' => 'WAL',
            'transaction_mode' => 'IMMEDIATE',
        ]]];

        PHP;

    private FreshApplication $application;

    /**
     * @param  array<string, string>  $env  of its queue
     */
    public function __construct(Scratch $scratch, array $env)
    {
        $env += [
            'APP_KEY' => 'base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
            'APP_ENV' => 'local',
            'LOG_CHANNEL' => 'single',
            'CACHE_STORE' => 'file',
            'DB_CONNECTION' => 'sqlite',
            'DB_DATABASE' => $scratch->file('database.sqlite', ''),
            // A job whose worker was killed is another's at once.
            'DB_QUEUE_RETRY_AFTER' => '1',
            'REDIS_QUEUE_RETRY_AFTER' => '1',
            'BROADCAST_CONNECTION' => 'fanfare',
            'FANFARE_APP_ID' => 'test',
            'FANFARE_APP_KEY' => ChatApplication::KEY,
            'FANFARE_APP_SECRET' => ChatApplication::SECRET,
            'FANFARE_SOCKET' => $scratch->path('fanfare.sock'),
            'FANFARE_CONNECT_TIMEOUT_MS' => '10000',
            'FANFARE_EXIT_TIMEOUT_MS' => '10000',
            'FANFARE_FALLBACK' => 'none',
        ];

        $lines = array_map(static fn (string $name, string $value): string => "{$name}=\"{$value}\"\n", array_keys($env), $env);
        $this->application = new FreshApplication($scratch, ['.env' => implode($lines), 'config/database.php' => self::DATABASE, 'routes/console.php' => self::CONSOLE]);
        $this->done('prepare');
    }

    public function count(int $from, int $to): void
    {
        $this->done('count', (string) $from, (string) $to);
    }

    public function fork(): void
    {
        $this->done('fork');
    }

    /**
     * How many jobs are in the queue, those that a worker has in its hands included.
     */
    public function waiting(): int
    {
        return (int) substr((string) strrchr(trim($this->done('waiting')), ' '), 1);
    }

    /**
     * What it has logged, shortened.
     */
    public function log(): string
    {
        return (string) preg_replace('/^#\d.*\n/m', '', $this->application->read('storage/logs/laravel.log'));
    }

    public function worker(string ...$options): RunningCommand
    {
        return $this->application->artisan(['queue:work', '--sleep=0.05', ...$options]);
    }

    public function restartWorkers(): void
    {
        $this->done('queue:restart');
    }

    /**
     * Workers that come this far wait until they are killed.
     *
     * @param  'before'|'after'  $when  the broadcast
     */
    public function hold(string $when): void
    {
        posix_mkfifo("{$this->application->directory}/storage/hold.{$when}", 0o600);
    }

    public function release(): void
    {
        array_map(unlink(...), glob("{$this->application->directory}/storage/hold.*") ?: []);
    }

    private function done(string ...$arguments): string
    {
        $command = $this->application->artisan(array_values($arguments));

        if ($command->exitCode() !== 0) {
            throw new RuntimeException("expected artisan {$arguments[0]} to succeed, found\n{$command->transcript}");
        }

        return $command->transcript;
    }
}
