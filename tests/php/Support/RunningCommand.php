<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

use RuntimeException;

/**
 * A command that runs beside the test. Its standard output and standard error are one stream of
 * lines; waiting is always for a line or for the end. The deadline only turns a hang into a failure.
 */
final class RunningCommand
{
    private const int DEADLINE_S = 30;

    /** PHP leaves its end of the terminal open in the command, which would then never be hung up. */
    private const string WITHOUT_INHERITED = <<<'SH'
        for fd in /proc/$$/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        exec "$@"
        SH;

    /** @var resource */
    private $process;

    /** @var resource */
    private $stdin;

    /** @var resource */
    private $output;

    /** @var list<resource> */
    private array $pipes;

    /** Everything that it has written so far. */
    public string $transcript = '';

    /** @var list<string> */
    private array $lines = [];

    private string $partial = '';

    private ?int $exitCode = null;

    /**
     * @param  list<string>  $command
     * @param  array<string, string>|null  $environment  null: this process's own
     * @param  bool  $terminal  whether the command has a terminal, of its own, instead of pipes
     */
    public function __construct(array $command, ?string $directory = null, ?array $environment = null, bool $terminal = false)
    {
        $process = proc_open(
            // A session of its own, so that whatever the command starts can be ended with it, and so that
            // the terminal becomes the controlling one and sends signals. setsid(1) execs the command.
            ['setsid', ...($terminal ? ['--ctty', 'bash', '-c', self::WITHOUT_INHERITED, 'bash'] : []), ...$command],
            $terminal ? [['pty'], ['pty'], ['pty']] : [['pipe', 'r'], ['pipe', 'w'], ['redirect', 1]],
            $pipes,
            $directory,
            $environment,
        );

        if ($process === false) {
            throw new RuntimeException('cannot start '.implode(' ', $command));
        }

        $this->process = $process;
        [$this->stdin, $this->output] = $this->pipes = $pipes;
        stream_set_blocking($this->output, false);
    }

    public function __destruct()
    {
        if ($this->exitCode === null) {
            posix_kill(-$this->pid(), SIGKILL);
            proc_close($this->process);
        }
    }

    public function pid(): int
    {
        return proc_get_status($this->process)['pid'];
    }

    public function write(string $text): self
    {
        fwrite($this->stdin, $text);

        return $this;
    }

    public function closeInput(): self
    {
        fclose($this->stdin);

        return $this;
    }

    public function signal(int $signal): self
    {
        posix_kill($this->pid(), $signal);

        return $this;
    }

    /**
     * Waits for a line that contains the text and gives it back. Lines before it are passed over for good.
     */
    public function line(string $text): string
    {
        while (true) {
            while ($this->lines !== []) {
                $line = array_shift($this->lines);

                if (str_contains($line, $text)) {
                    return $line;
                }
            }

            if (! $this->read()) {
                throw new RuntimeException("expected a line with \"{$text}\", found the end of the output:\n{$this->transcript}");
            }
        }
    }

    /**
     * Waits for the end of the output and of the command. Gives back the exit code, as a shell would.
     */
    public function exitCode(): int
    {
        while ($this->read());

        // All writers have closed the output, so the command is ending.
        while (($status = proc_get_status($this->process))['running']) {
            usleep(1_000);
        }

        proc_close($this->process);

        return $this->exitCode = $status['signaled'] ? 128 + $status['termsig'] : $status['exitcode'];
    }

    /**
     * Closes the terminal, as a window that is closed does, and waits for the end. Gives back the exit code.
     */
    public function hangUp(): int
    {
        array_map(fclose(...), $this->pipes);
        $deadline = microtime(true) + self::DEADLINE_S;

        while (($status = proc_get_status($this->process))['running']) {
            if (microtime(true) > $deadline) {
                throw new RuntimeException('expected the command to end with its terminal, found it running');
            }

            usleep(1_000);
        }

        proc_close($this->process);

        return $this->exitCode = $status['signaled'] ? 128 + $status['termsig'] : $status['exitcode'];
    }

    private function read(): bool
    {
        $read = [$this->output];
        $none = null;

        if (stream_select($read, $none, $none, self::DEADLINE_S) === 0) {
            throw new RuntimeException('nothing was written for '.self::DEADLINE_S." s after:\n{$this->transcript}");
        }

        // A terminal that nobody writes to any more is an error to read, a pipe just ends.
        $chunk = @fread($this->output, 65_536);

        if ($chunk === false || $chunk === '') {
            return $chunk !== false && ! feof($this->output);
        }

        $this->transcript .= $chunk;
        $lines = explode("\n", $this->partial.$chunk);
        $this->partial = array_pop($lines);
        array_push($this->lines, ...$lines);

        return true;
    }
}
