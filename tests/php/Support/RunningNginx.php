<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * A real nginx with a configuration of the test's own; it ends with this.
 */
final readonly class RunningNginx
{
    private RunningCommand $process;

    /**
     * @param  string  $http  what stands in the http block
     */
    public function __construct(Scratch $scratch, string $http)
    {
        $user = posix_geteuid() === 0 ? 'user root;' : '';
        $places = '';

        foreach (['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'] as $what) {
            $places .= "{$what}_temp_path {$scratch->path("nginx-{$what}")};\n";
        }

        $this->process = new RunningCommand([Program::path('nginx'), '-e', 'stderr', '-c', $scratch->file('nginx.conf', <<<NGINX
            {$user}
            daemon off;
            worker_processes 1;
            pid {$scratch->path('nginx.pid')};
            error_log stderr notice;
            events { }
            http {
                access_log off;
                {$places}
                {$http}
            }
            NGINX)]);
        $this->process->line('start worker process');
    }

    public function stop(): int
    {
        return $this->process->signal(SIGTERM)->exitCode();
    }

    /**
     * A port of this machine at which nobody listens.
     */
    public static function freePort(): int
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $name = (string) stream_socket_get_name($listener, false);
        fclose($listener);

        return (int) substr((string) strrchr($name, ':'), 1);
    }
}
