<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use Fanfare\Laravel\Doctor\FpmBinary;
use PHPUnit\Framework\Assert;

/**
 * A real php-fpm with one pool, which loads what this PHP loads. It ends with this.
 */
final readonly class RunningFpm
{
    /** Where it takes requests. */
    public string $socket;

    private RunningCommand $process;

    /**
     * @param  string  $pool  further lines of the pool's configuration
     * @param  bool  $extension  whether the extension is loaded as this PHP loads it
     */
    public function __construct(Scratch $scratch, int $workers, string $pool = '', bool $extension = true)
    {
        $binary = FpmBinary::all((string) getenv('PATH'))[0]->path ?? Assert::markTestSkipped('needs php-fpm');
        $this->socket = $scratch->path('fpm.sock');
        $user = posix_geteuid() === 0 ? "user = root\ngroup = root" : '';
        $this->process = new RunningCommand([$binary, '--nodaemonize', '--allow-to-run-as-root', '--fpm-config', $scratch->file('fpm.conf', <<<INI
            [global]
            error_log = /dev/stderr
            daemonize = no
            process_control_timeout = 20s
            [www]
            listen = {$this->socket}
            {$user}
            pm = static
            pm.max_children = {$workers}
            catch_workers_output = yes
            {$pool}
            INI)], environment: $extension ? null : array_diff_key(getenv(), ['PHP_INI_SCAN_DIR' => true]));
        $this->awaitReadiness();
    }

    /**
     * Reloads in good order; another generation is ready when this returns, while the old one may still be serving.
     */
    public function reload(): void
    {
        $this->process->signal(SIGUSR2);
        $this->awaitReadiness();
    }

    /**
     * Ends it in good order, and gives its log.
     */
    public function stop(): string
    {
        $this->process->signal(SIGQUIT)->exitCode();

        return $this->process->transcript;
    }

    private function awaitReadiness(): void
    {
        $this->process->line('ready to handle connections');
    }
}
